#include "core/scheduler/classes.h"
#include "tests/unit/check.h"

static void check_class(const char *kind, const char *name, unsigned cpu, unsigned memory)
{
    struct tn_err err = TN_ERR_INIT;
    const struct tn_class *class = tn_class_find(kind, name, &err);

    CHECK(class != NULL);
    if (class == NULL)
        return;
    CHECK_INT(class->cpu_milli, cpu);
    CHECK_INT(class->memory_mb, memory);
}

int main(void)
{
    struct tn_err err = TN_ERR_INIT;

    check_class("docker", NULL, 2000, 4096);
    check_class("docker", "", 2000, 4096);
    check_class("docker", "small", 1000, 2048);
    check_class("docker", "2xlarge+", 20000, 40960);
    check_class("machine", "medium", 2000, 7680);
    check_class("machine", "large", 4000, 15360);
    check_class("arm", NULL, 2000, 8192);
    check_class("arm", "arm.large", 4000, 16384);
    check_class("arm", "large", 4000, 16384);
    check_class("docker", "arm.medium", 2000, 8192);
    check_class("machine", "windows.medium", 4000, 16384);
    check_class("windows", NULL, 4000, 16384);
    check_class("docker", "ns/own", 2000, 7680);
    CHECK(tn_class_find("machine", "small", &err) == NULL);
    CHECK_STR(err.text,
              "resource class \"small\" is unknown for machine; known are: medium, large, xlarge, 2xlarge, 2xlarge+");
    CHECK(tn_class_find("mainframe", "medium", &err) == NULL);
    CHECK_STR(err.text,
              "resource class \"medium\" is unknown for mainframe; known are: none for this kind of executor");
    return tn_check_result();
}
