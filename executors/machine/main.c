/* tenon-executor-machine: `machine` jobs, and others that are mapped to it. */
#include "executors/machine/host.h"

int main(void)
{
    return tn_executor_main(&tn_host_ops);
}
