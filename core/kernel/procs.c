#include "core/kernel/procs.h"
#include "core/lib/cleanup.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ENVIRONMENT_MAX = 256 * 1024 };

struct proc {
    pid_t pid;
    pid_t parent;
    bool found;
};

static ssize_t read_file(const char *path, char *out, size_t size)
{
    auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t used = 0;

    while (fd >= 0 && (size_t)used + 1 < size) {
        ssize_t got = read(fd, out + used, size - 1 - (size_t)used);

        if (got <= 0)
            break;
        used += got;
    }
    out[used] = '\0';
    return fd >= 0 ? used : -1;
}

/* Parent and start time from /proc/PID/stat: fields 4 and 22; the name before them may hold anything. */
static bool read_stat(pid_t pid, pid_t *parent, uint64_t *start)
{
    char path[64];
    char text[1024];
    const char *after;
    char state;
    int ppid;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (read_file(path, text, sizeof(text)) <= 0 || (after = strrchr(text, ')')) == NULL)
        return false;
    if (sscanf(after + 1, " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %" SCNu64, &state,
               &ppid, start) != 3)
        return false;
    *parent = ppid;
    return state != 'Z' && state != 'X';
}

bool tn_procs_user(pid_t pid, uid_t *user)
{
    char path[64];
    char text[4096];
    const char *line;
    unsigned effective;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    if (read_file(path, text, sizeof(text)) <= 0 || (line = strstr(text, "\nUid:")) == NULL ||
        sscanf(line, "\nUid: %*u %u", &effective) != 1)
        return false;
    *user = (uid_t)effective;
    return true;
}

uint64_t tn_procs_start_time(pid_t pid)
{
    pid_t parent;
    uint64_t start;

    return read_stat(pid, &parent, &start) ? start : 0;
}

unsigned long long tn_procs_namespace(void)
{
    struct stat info;

    return stat("/proc/self/ns/pid", &info) == 0 ? (unsigned long long)info.st_ino : 0;
}

static struct proc *read_all(size_t *count)
{
    auto_dir DIR *dir = opendir("/proc");
    struct proc *procs = calloc(TN_PROCS_MAX, sizeof(*procs));
    struct dirent *entry;
    uint64_t start;

    *count = 0;
    while (dir != NULL && procs != NULL && *count < TN_PROCS_MAX && (entry = readdir(dir)) != NULL) {
        struct proc *proc = &procs[*count];

        proc->pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (proc->pid > 0 && read_stat(proc->pid, &proc->parent, &start))
            (*count)++;
    }
    return procs;
}

void tn_procs_children(void (*cb)(void *arg, pid_t child), void *arg)
{
    char path[64];
    char text[65536];
    char *at = text;
    pid_t parent;
    uint64_t start;

    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    if (read_file(path, text, sizeof(text)) < 0) { /* kernels without CONFIG_PROC_CHILDREN */
        auto_free struct proc *procs = NULL;
        size_t count;

        procs = read_all(&count);
        for (size_t i = 0; i < count; i++)
            if (procs[i].parent == getpid())
                cb(arg, procs[i].pid);
        return;
    }
    for (;;) {
        char *end;
        pid_t pid = (pid_t)strtol(at, &end, 10);

        if (end == at)
            return;
        at = end;
        if (read_stat(pid, &parent, &start))
            cb(arg, pid);
    }
}

void tn_procs_descendants(pid_t root, void (*cb)(void *arg, pid_t pid), void *arg)
{
    auto_free struct proc *procs = NULL;
    size_t count;
    bool more = true;

    procs = read_all(&count);
    while (more) {
        more = false;
        for (size_t i = 0; i < count; i++) {
            bool below = procs[i].parent == root;

            for (size_t j = 0; !below && !procs[i].found && j < count; j++)
                below = procs[j].found && procs[j].pid == procs[i].parent;
            if (below && !procs[i].found)
                more = procs[i].found = true;
        }
    }
    for (size_t i = 0; i < count; i++)
        if (procs[i].found)
            cb(arg, procs[i].pid);
}

/* The value of `name` in "A=1\0B=2\0", or NULL. */
static const char *find_variable(const char *block, ssize_t size, const char *name)
{
    size_t length = strlen(name);

    for (const char *at = block; at < block + size; at += strlen(at) + 1)
        if (strncmp(at, name, length) == 0 && at[length] == '=')
            return at + length + 1;
    return NULL;
}

void tn_procs_marked(const char *name, void (*cb)(void *arg, pid_t pid, const char *value), void *arg)
{
    auto_dir DIR *dir = opendir("/proc");
    auto_free char *block = malloc(ENVIRONMENT_MAX);
    struct dirent *entry;
    pid_t parent;
    uint64_t start;

    while (dir != NULL && block != NULL && (entry = readdir(dir)) != NULL) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        char path[64];
        const char *value;
        ssize_t size;

        if (pid <= 0 || pid == getpid())
            continue;
        snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
        size = read_file(path, block, ENVIRONMENT_MAX);
        value = size > 0 ? find_variable(block, size, name) : NULL;
        if (value != NULL && read_stat(pid, &parent, &start))
            cb(arg, pid, value);
    }
}

bool tn_procs_in_cgroup(pid_t pid, const char *part)
{
    char path[64];
    char text[8192];

    snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
    return read_file(path, text, sizeof(text)) > 0 && strstr(text, part) != NULL;
}
