#include "core/scheduler/classes.h"

#include <stdio.h>
#include <string.h>

/* The kind's first row is its default. Units: thousandths of a vCPU, MiB. */
static const struct tn_class classes[] = {
    {"docker", "medium", 2000, 4096},
    {"docker", "small", 1000, 2048},
    {"docker", "medium+", 3000, 6144},
    {"docker", "large", 4000, 8192},
    {"docker", "xlarge", 8000, 16384},
    {"docker", "2xlarge", 16000, 32768},
    {"docker", "2xlarge+", 20000, 40960},
    {"machine", "medium", 2000, 7680},
    {"machine", "large", 4000, 15360},
    {"machine", "xlarge", 8000, 32768},
    {"machine", "2xlarge", 16000, 65536},
    {"machine", "2xlarge+", 32000, 65536},
    {"windows", "windows.medium", 4000, 16384},
    {"windows", "windows.large", 8000, 32768},
    {"windows", "windows.xlarge", 16000, 65536},
    {"windows", "windows.2xlarge", 32000, 131072},
    {"arm", "arm.medium", 2000, 8192},
    {"arm", "arm.large", 4000, 16384},
    {"arm", "arm.xlarge", 8000, 32768},
    {"arm", "arm.2xlarge", 16000, 65536},
    {"macos", "medium", 4000, 8192},
};
enum { CLASSES = sizeof(classes) / sizeof(classes[0]) };

/* "windows.medium" and "arm.medium" may be written without their prefix, and with it for a job of another kind: the
 * prefix alone says which row is meant. */
static int names(const struct tn_class *class, const char *kind, const char *name)
{
    const char *dot = strchr(class->name, '.');

    if (strcmp(class->name, name) == 0)
        return dot != NULL || strcmp(class->kind, kind) == 0;
    return dot != NULL && strcmp(class->kind, kind) == 0 && strcmp(dot + 1, name) == 0;
}

static const struct tn_class *refuse(const char *kind, const char *name, struct tn_err *err)
{
    char known[512] = "";
    size_t used = 0;

    for (size_t i = 0; i < CLASSES && used < sizeof(known); i++)
        if (strcmp(classes[i].kind, kind) == 0)
            used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", used > 0 ? ", " : "", classes[i].name);
    tn_err_set(err, TN_ERR_CONFIG, "resource class \"%s\" is unknown for %s; known are: %s", name, kind,
               known[0] != '\0' ? known : "none for this kind of executor");
    return NULL;
}

const struct tn_class *tn_class_find(const char *kind, const char *name, struct tn_err *err)
{
    if (name != NULL && strchr(name, '/') != NULL)
        return tn_class_find("machine", "medium", err);
    for (size_t i = 0; i < CLASSES; i++)
        if (name == NULL || name[0] == '\0') {
            if (strcmp(classes[i].kind, kind) == 0)
                return &classes[i];
        } else if (names(&classes[i], kind, name)) {
            return &classes[i];
        }
    return refuse(kind, name != NULL ? name : "", err);
}
