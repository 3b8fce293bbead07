#include "executors/agent/procs.h"
#include "core/lib/buf.h"
#include "core/lib/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#define PASSES_MAX 200
#define TREE_PASSES_MAX 20
#define ENVIRON_MAX (256u * 1024u)

struct proc {
    pid_t pid;
    pid_t parent;
    pid_t session;
    bool dead; /* a zombie: nothing is left to signal */
    bool chosen;
};

struct proc_list {
    struct proc *all; /* owned */
    size_t count;
    size_t size;
};

/* "pid (any text, brackets too) state ppid pgrp session …", proc(5) */
static bool read_stat(pid_t pid, struct proc *proc)
{
    char path[64];
    char text[512];
    ssize_t got;
    char *end;
    char state;
    int parent;
    int session;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    got = read(fd, text, sizeof(text) - 1);
    if (got <= 0)
        return false;
    text[got] = '\0';
    end = strrchr(text, ')');
    if (end == NULL || end[1] != ' ' || end[2] == '\0')
        return false;
    state = end[2];
    parent = (int)strtol(end + 3, &end, 10);
    (void)strtol(end, &end, 10); /* the process group */
    session = (int)strtol(end, &end, 10);
    *proc = (struct proc){pid, parent, session, state == 'Z' || state == 'X', false};
    return true;
}

static void list_procs(struct proc_list *list)
{
    auto_dir DIR *dir = opendir("/proc");
    struct dirent *entry;

    list->count = 0;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        pid_t pid = (pid_t)atoi(entry->d_name);

        if (pid <= 0)
            continue;
        if (list->count == list->size) {
            size_t size = list->size != 0 ? list->size * 2 : 256;
            struct proc *all = realloc(list->all, size * sizeof(*all));

            if (all == NULL)
                return;
            list->all = all;
            list->size = size;
        }
        if (read_stat(pid, &list->all[list->count]))
            list->count++;
    }
}

static bool parent_is_chosen(const struct proc_list *list, pid_t parent)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->all[i].pid == parent)
            return list->all[i].chosen;
    return false;
}

/* Spreads `chosen` from parents to children until nothing changes. */
static void choose_children(struct proc_list *list)
{
    bool changed = true;

    while (changed) {
        changed = false;
        for (size_t i = 0; i < list->count; i++) {
            if (!list->all[i].chosen && parent_is_chosen(list, list->all[i].parent)) {
                list->all[i].chosen = true;
                changed = true;
            }
        }
    }
}

static bool environ_has(pid_t pid, const char *marker)
{
    char path[64];
    auto_buf struct tn_buf text = TN_BUF_INIT;
    size_t len = strlen(marker);
    ssize_t got;

    snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
    auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    while (text.len < ENVIRON_MAX && (got = read(fd, tn_buf_reserve(&text, 4096), 4096)) > 0)
        text.len += (size_t)got;
    tn_buf_add(&text, "", 0);
    for (size_t at = 0; at + len < text.len + 1; at += strlen(text.data + at) + 1)
        if (strcmp(text.data + at, marker) == 0)
            return true;
    return false;
}

enum tn_procs_answer tn_procs_descends(pid_t pid)
{
    struct proc proc;
    pid_t self = getpid();

    for (int depth = 0; depth < 10000; depth++) {
        if (pid == self)
            return TN_PROCS_YES;
        if (pid <= 1) /* above that there is nobody */
            return TN_PROCS_NO;
        if (!read_stat(pid, &proc) || proc.dead)
            return TN_PROCS_UNKNOWN;
        pid = proc.parent;
    }
    return TN_PROCS_UNKNOWN;
}

int tn_procs_signal_tree(pid_t leader, const char *marker, int sig)
{
    struct proc_list list = {NULL, 0, 0};
    int sent = 0;

    for (int pass = 0; pass < TREE_PASSES_MAX; pass++) {
        int now = 0;

        list_procs(&list);
        for (size_t i = 0; i < list.count; i++)
            list.all[i].chosen = list.all[i].pid == leader || list.all[i].session == leader;
        choose_children(&list);
        for (size_t i = 0; i < list.count; i++)
            if (!list.all[i].chosen && list.all[i].pid != getpid())
                list.all[i].chosen = environ_has(list.all[i].pid, marker);
        choose_children(&list);
        for (size_t i = 0; i < list.count; i++)
            if (list.all[i].chosen && !list.all[i].dead && list.all[i].pid != getpid())
                now += kill(list.all[i].pid, sig) == 0;
        sent += now;
        if (sig != SIGKILL || now == 0)
            break;
        /* What was killed needs a moment to die; then only forks that raced with the listing are found. */
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    free(list.all);
    return sent;
}

static void reap_all(void)
{
    while (waitpid(-1, NULL, WNOHANG) > 0)
        continue;
}

/* One pass over the descendants; returns how many there were. */
static int kill_descendants(struct proc_list *list)
{
    int found = 0;

    list_procs(list);
    for (size_t i = 0; i < list->count; i++)
        list->all[i].chosen = list->all[i].pid == getpid();
    choose_children(list);
    for (size_t i = 0; i < list->count; i++) {
        if (!list->all[i].chosen || list->all[i].pid == getpid())
            continue;
        kill(list->all[i].pid, SIGKILL);
        found++;
    }
    return found;
}

int tn_procs_kill_all(void)
{
    struct proc_list list = {NULL, 0, 0};
    int left = 0;

    for (int pass = 0; pass < PASSES_MAX; pass++) {
        /* A child may have been moved to this process while /proc was read: only "no child at all" is proof. */
        if (getpid() == 1)
            kill(-1, SIGKILL);
        left = kill_descendants(&list);
        reap_all();
        if (waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD) {
            left = 0;
            break;
        }
        nanosleep(&(struct timespec){0, 2000000}, NULL);
    }
    free(list.all);
    return left;
}
