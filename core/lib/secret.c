#include "core/lib/secret.h"
#include "core/lib/log.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

void tn_secret_free(void *block)
{
    if (block != NULL)
        explicit_bzero(block, malloc_usable_size(block));
    free(block);
}

void tn_secret_guard(void)
{
    cJSON_Hooks hooks = {.malloc_fn = malloc, .free_fn = tn_secret_free};
    const struct rlimit none = {0, 0};

    cJSON_InitHooks(&hooks);
    /* The limit alone does not keep memory from a program that core_pattern names; what is not dumpable is not dumped. */
    if (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        tn_warn("memory may be dumped when this process crashes: %s", strerror(errno));
}

void tn_secret_wipe_all(void)
{
    mallopt(M_PERTURB, 0xff);
}
