#include "core/kernel/clears.h"
#include "core/kernel/clear_child.h"
#include "core/kernel/places.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    AT_ONCE = 4,
    AT_ONCE_OF_ONE = 2, /* executor */
    WAITING_OF_ONE = 1024,
    MINUTES = 15, /* then it hangs (in a file system that does not answer), or whoever fills it is faster */
};

struct clear {
    TAILQ_ENTRY(clear) next;
    struct tn_clears *clears; /* borrowed */
    char *executor;           /* owned */
    char *root;               /* owned; folder of the executor */
    char *below;              /* owned; what is to be removed of it */
    struct tn_header request;
    pid_t pid; /* 0: it waits for its turn */
    int verdict_fd;
    struct event *late; /* owned */
    bool is_late;
};

struct tn_clears {
    struct tn_clears_config config;
    TAILQ_HEAD(, clear) list; /* in the order they came */
};

/* ---- answers ---- */

static void refuse(struct tn_clears *clears, const struct tn_header *request, const char *code, const char *text)
{
    auto_json cJSON *body = cJSON_CreateObject();

    cJSON_AddStringToObject(body, "code", code);
    cJSON_AddStringToObject(body, "text", text);
    clears->config.reply(clears->config.arg, request, TN_MSG_REFUSED, body);
}

static void answer(const struct clear *clear, char *verdict)
{
    struct tn_clears *clears = clear->clears;
    char *text = strchr(verdict, ' ');

    if (strcmp(verdict, "ok") == 0) {
        auto_json cJSON *body = cJSON_CreateObject();

        clears->config.reply(clears->config.arg, &clear->request, TN_MSG_PROGRAM_CLEARED, body);
        return;
    }
    if (text != NULL)
        *text++ = '\0';
    refuse(clears, &clear->request, verdict, text != NULL ? text : "");
}

/* ---- children ---- */

static void free_clear(struct clear *clear)
{
    TAILQ_REMOVE(&clear->clears->list, clear, next);
    if (clear->verdict_fd >= 0)
        close(clear->verdict_fd);
    event_free(clear->late);
    free(clear->executor);
    free(clear->root);
    free(clear->below);
    free(clear);
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
    struct clear *clear = arg;

    clear->is_late = true;
    kill(clear->pid, SIGKILL);
}

static bool is_same(const struct clear *a, const struct clear *b)
{
    return strcmp(a->root, b->root) == 0 && strcmp(a->below, b->below) == 0;
}

/* May it begin? Not beside too many others, and not beside one of the same folder. */
static bool has_turn(const struct clear *clear)
{
    const struct clear *other;
    size_t running = 0;
    size_t own = 0;

    TAILQ_FOREACH (other, &clear->clears->list, next) {
        if (other->pid == 0)
            continue;
        if (is_same(other, clear))
            return false;
        running++;
        own += strcmp(other->executor, clear->executor) == 0;
    }
    return clear->pid == 0 && running < AT_ONCE && own < AT_ONCE_OF_ONE;
}

static int begin(struct clear *clear, struct tn_err *err)
{
    const struct timeval time = {MINUTES * 60, 0};
    auto_fd int read_fd = -1;
    auto_fd int write_fd = -1;
    int ends[2];

    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
        return tn_err_sys(err, errno, "a pipe");
    read_fd = ends[0];
    write_fd = ends[1];
    clear->pid = tn_clear_child_start(clear->root, clear->below, write_fd);
    if (clear->pid < 0) {
        clear->pid = 0;
        return tn_err_sys(err, errno, "a process");
    }
    clear->verdict_fd = steal_fd(&read_fd);
    event_add(clear->late, &time);
    return 0;
}

static void begin_more(struct tn_clears *clears)
{
    struct clear *clear = TAILQ_FIRST(&clears->list);

    while (clear != NULL) {
        struct clear *next = TAILQ_NEXT(clear, next);
        struct tn_err err = TN_ERR_INIT;

        if (has_turn(clear) && begin(clear, &err) != 0) {
            tn_err_wrap(&err, "cannot remove %.300s/%.300s", clear->root, clear->below);
            refuse(clears, &clear->request, "failed", err.text);
            free_clear(clear);
        }
        clear = next;
    }
}

bool tn_clears_knows(const struct tn_clears *clears, pid_t pid)
{
    const struct clear *clear;

    TAILQ_FOREACH (clear, &clears->list, next)
        if (clear->pid == pid)
            return true;
    return false;
}

static void take_verdict(struct clear *clear, int status)
{
    char verdict[TN_CLEAR_VERDICT + 1];
    ssize_t got = read(clear->verdict_fd, verdict, TN_CLEAR_VERDICT);

    if (got > 0) {
        verdict[got] = '\0';
        answer(clear, verdict);
        return;
    }
    if (clear->is_late)
        snprintf(verdict, sizeof(verdict),
                 "failed cannot remove %.300s/%.300s within %d minutes: see what hangs there, or who "
                 "fills it",
                 clear->root, clear->below, MINUTES);
    else
        snprintf(verdict, sizeof(verdict), "failed cannot remove %.300s/%.300s: who was to do it ended with %s %d",
                 clear->root, clear->below, WIFSIGNALED(status) ? "signal" : "status",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    answer(clear, verdict);
}

bool tn_clears_reaped(struct tn_clears *clears, pid_t pid, int status)
{
    struct clear *clear;

    TAILQ_FOREACH (clear, &clears->list, next) {
        if (clear->pid != pid)
            continue;
        take_verdict(clear, status);
        free_clear(clear);
        begin_more(clears);
        return true;
    }
    return false;
}

/* ---- requests ---- */

/* What of `folder` lies below `root`: plain components only. NULL: it does not. */
static const char *part_below(const char *folder, const char *root)
{
    size_t length = strlen(root);
    const char *below = folder + length + 1;

    if (length == 0 || strncmp(folder, root, length) != 0 || folder[length] != '/')
        return NULL;
    for (const char *part = below;; part += strcspn(part, "/") + 1) {
        size_t size = strcspn(part, "/");

        if (size == 0 || (size == 1 && part[0] == '.') || (size == 2 && strncmp(part, "..", 2) == 0))
            return NULL;
        if (part[size] == '\0')
            return below;
    }
}

static void enter(struct tn_clears *clears, const char *executor, const char *root, const char *below,
                  const struct tn_header *request)
{
    struct clear *clear = calloc(1, sizeof(*clear));

    if (clear == NULL || (clear->late = evtimer_new(clears->config.base, on_late, clear)) == NULL)
        tn_fatal(3, "out of memory for a removal");
    clear->clears = clears;
    clear->executor = tn_fs_path("%s", executor);
    clear->root = tn_fs_path("%s", root);
    clear->below = tn_fs_path("%s", below);
    clear->request = *request;
    clear->verdict_fd = -1;
    TAILQ_INSERT_TAIL(&clears->list, clear, next);
    begin_more(clears);
}

static size_t waiting_of(const struct tn_clears *clears, const char *executor)
{
    const struct clear *clear;
    size_t count = 0;

    TAILQ_FOREACH (clear, &clears->list, next)
        count += strcmp(clear->executor, executor) == 0;
    return count;
}

void tn_clears_request(struct tn_clears *clears, const char *executor, const struct tn_places *own,
                       const struct tn_header *request, const cJSON *body)
{
    const char *folder = tn_json_string(body, "folder", "");
    const char *const roots[] = {own->state, own->store, own->run};
    char text[512];

    for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
        const char *below = part_below(folder, roots[i]);

        if (below == NULL)
            continue;
        if (waiting_of(clears, executor) < WAITING_OF_ONE)
            enter(clears, executor, roots[i], below, request);
        else
            refuse(clears, request, "limit", "too many folders of this executor are being removed: ask again");
        return;
    }
    snprintf(text, sizeof(text), "%.200s is not within the folders of executor %s: expected a path below %.200s",
             folder, executor, own->state);
    refuse(clears, request, "invalid", text);
}

/* ---- life ---- */

struct tn_clears *tn_clears_open(const struct tn_clears_config *config)
{
    struct tn_clears *clears = calloc(1, sizeof(*clears));

    if (clears == NULL)
        tn_fatal(3, "out of memory for removals");
    clears->config = *config;
    TAILQ_INIT(&clears->list);
    return clears;
}

void tn_clears_close(struct tn_clears *clears)
{
    if (clears == NULL)
        return;
    while (!TAILQ_EMPTY(&clears->list)) {
        struct clear *clear = TAILQ_FIRST(&clears->list);

        if (clear->pid > 0) /* not waited for: where a file system hangs, it would hang us, too */
            kill(clear->pid, SIGKILL);
        free_clear(clear);
    }
    free(clears);
}
