/* tenon-executor-docker: `docker` jobs, in containers of a Docker Engine. */
#include "executors/docker/driver.h"

int main(void)
{
    return tn_executor_main(&tn_docker_ops);
}
