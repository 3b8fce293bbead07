#include "executors/agent/oom.h"
#include "core/lib/cleanup.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES 8192

/* A counter of one controller: in version 1's hierarchy of that controller, else in the unified one. */
struct counter {
    const char *controller;
    const char *v1;
    const char *v2;
    char *path; /* PATH_MAX bytes; "": there is none */
};

/* Apart from what has a value at start, so that the program need not hold their zeros. */
static char memory_path[PATH_MAX];
static char processes_path[PATH_MAX];
static struct counter memory = {"memory", "/memory.oom_control", "/memory.events", memory_path};
static struct counter processes = {"pids", "/pids.events", "/pids.events", processes_path};

/* True if the comma-separated list has this word. */
static bool has_word(const char *list, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = list; (at = strstr(at, word)) != NULL; at += len)
        if ((at == list || at[-1] == ',') && (at[len] == ',' || at[len] == '\0'))
            return true;
    return false;
}

/* The agent's group in version 1's hierarchy of the controller, or (v2) in the unified one: /proc/self/cgroup has lines
 * "ID:CONTROLLERS:PATH". */
static bool find_group(const struct counter *counter, bool v2, char *group, size_t size)
{
    auto_file FILE *file = fopen("/proc/self/cgroup", "re");
    char line[LINE_MAX_BYTES];

    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        char *rest = line;
        const char *id = strsep(&rest, ":");
        const char *controllers = strsep(&rest, ":");

        if (rest == NULL ||
            (v2 ? strcmp(id, "0") != 0 || controllers[0] != '\0' : !has_word(controllers, counter->controller)))
            continue;
        rest[strcspn(rest, "\n")] = '\0';
        snprintf(group, size, "%s", rest);
        return true;
    }
    return false;
}

/* A container sees its own group at the mount point although /proc/self/cgroup names the path on the host: what the
 * mount shows as its root is cut off. */
static bool try_mount(struct counter *counter, const char *root, const char *point, const char *group, bool v2)
{
    /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): strsep() found it, or there would be no rest */
    size_t len = strcmp(root, "/") == 0 ? 0 : strlen(root);

    if (strncmp(group, root, len) != 0 || (group[len] != '/' && group[len] != '\0'))
        return false;
    group += len;
    snprintf(counter->path, PATH_MAX, "%s%s%s", point, strcmp(group, "/") == 0 ? "" : group,
             v2 ? counter->v2 : counter->v1);
    if (access(counter->path, R_OK) == 0)
        return true;
    counter->path[0] = '\0';
    return false;
}

/* Lines of mountinfo: ID PARENT DEVICE ROOT POINT OPTIONS ... - TYPE SOURCE SUPER-OPTIONS. */
static bool find_mount(struct counter *counter, bool v2, const char *group)
{
    auto_file FILE *file = fopen("/proc/self/mountinfo", "re");
    char line[LINE_MAX_BYTES];

    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        char *tail = strstr(line, " - ");
        char *rest = line;
        const char *type;
        const char *root;
        const char *options;

        if (tail == NULL)
            continue;
        *tail = '\0';
        tail += 3;
        tail[strcspn(tail, "\n")] = '\0';
        type = strsep(&tail, " ");
        options = tail != NULL ? strrchr(tail, ' ') : NULL;
        if (options == NULL || strcmp(type, v2 ? "cgroup2" : "cgroup") != 0 ||
            (!v2 && !has_word(options + 1, counter->controller)))
            continue;
        for (int i = 0; i < 3 && rest != NULL; i++)
            strsep(&rest, " ");
        root = strsep(&rest, " ");
        if (rest != NULL && try_mount(counter, root, strsep(&rest, " "), group, v2))
            return true;
    }
    return false;
}

static void find_counter(struct counter *counter)
{
    char group[PATH_MAX];

    counter->path[0] = '\0';
    if (find_group(counter, false, group, sizeof(group)) && find_mount(counter, false, group))
        return;
    if (find_group(counter, true, group, sizeof(group)))
        (void)find_mount(counter, true, group);
}

/* The number behind `word` ("oom_kill ") in the file. */
static unsigned long read_counter(const char *path, const char *word)
{
    auto_file FILE *file = path[0] != '\0' ? fopen(path, "re") : NULL;
    char line[256];

    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, word, strlen(word)) == 0)
            return strtoul(line + strlen(word), NULL, 10);
    return 0;
}

void tn_oom_find(void)
{
    find_counter(&memory);
    find_counter(&processes);
}

unsigned long tn_oom_count(void)
{
    return read_counter(memory.path, "oom_kill ");
}

unsigned long tn_refused_forks(void)
{
    return read_counter(processes.path, "max ");
}

unsigned long tn_process_limit(void)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%.*s/pids.max", (int)(strlen(processes.path) - strlen(processes.v2)), processes.path);
    return processes.path[0] != '\0' ? read_counter(path, "") : 0;
}
