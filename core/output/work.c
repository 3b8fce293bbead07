#include "core/output/work.h"
#include "core/lib/log.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

enum state { WAITING, UNDER_WAY, DONE };

struct tn_work {
    TAILQ_ENTRY(tn_work) next;
    struct tn_works *works; /* borrowed */
    enum state state;
    tn_work_run_cb *run;
    tn_work_done_cb *done;
    void *arg;
};
TAILQ_HEAD(work_list, tn_work);

struct tn_works {
    pthread_mutex_t lock; /* over all that follows but the event */
    pthread_cond_t more;  /* something waits, or it is the end */
    pthread_cond_t ended; /* a piece of work is done */
    struct work_list waiting;
    struct work_list done;
    bool closing;
    pthread_t threads[TN_WORK_THREADS];
    unsigned count;
    int wake; /* eventfd */
    struct event *readable;
};

static void *serve(void *arg)
{
    struct tn_works *works = arg;
    uint64_t one = 1;

    pthread_mutex_lock(&works->lock);
    for (;;) {
        struct tn_work *work;

        while (!works->closing && TAILQ_EMPTY(&works->waiting))
            pthread_cond_wait(&works->more, &works->lock);
        if (works->closing)
            break;
        work = TAILQ_FIRST(&works->waiting);
        TAILQ_REMOVE(&works->waiting, work, next);
        work->state = UNDER_WAY;
        pthread_mutex_unlock(&works->lock);
        work->run(work->arg);
        pthread_mutex_lock(&works->lock);
        work->state = DONE;
        TAILQ_INSERT_TAIL(&works->done, work, next);
        pthread_cond_broadcast(&works->ended);
        if (write(works->wake, &one, sizeof(one)) < 0 && errno != EAGAIN)
            tn_fatal(3, "cannot wake the loop: %s", strerror(errno));
    }
    pthread_mutex_unlock(&works->lock);
    return NULL;
}

static struct tn_work *first_done(struct tn_works *works)
{
    struct tn_work *work;

    pthread_mutex_lock(&works->lock);
    work = TAILQ_FIRST(&works->done);
    if (work != NULL)
        TAILQ_REMOVE(&works->done, work, next);
    pthread_mutex_unlock(&works->lock);
    return work;
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    struct tn_works *works = arg;
    struct tn_work *work;
    uint64_t count;

    if (read(works->wake, &count, sizeof(count)) < 0 && errno != EAGAIN)
        tn_fatal(3, "cannot hear of work that is done: %s", strerror(errno));
    while ((work = first_done(works)) != NULL) {
        work->done(work->arg);
        free(work);
    }
}

/* Signals are the loop's. */
static int start_threads(struct tn_works *works)
{
    sigset_t all;
    sigset_t before;
    int failed = 0;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (failed == 0 && works->count < TN_WORK_THREADS) {
        failed = pthread_create(&works->threads[works->count], NULL, serve, works);
        works->count += failed == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return works->count > 0 ? 0 : failed;
}

struct tn_works *tn_works_new(struct event_base *base, struct tn_err *err)
{
    struct tn_works *works = calloc(1, sizeof(*works));
    int failed;

    if (works == NULL)
        tn_fatal(3, "out of memory: threads");
    TAILQ_INIT(&works->waiting);
    TAILQ_INIT(&works->done);
    pthread_mutex_init(&works->lock, NULL);
    pthread_cond_init(&works->more, NULL);
    pthread_cond_init(&works->ended, NULL);
    works->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    works->readable = works->wake >= 0 ? event_new(base, works->wake, EV_READ | EV_PERSIST, on_wake, works) : NULL;
    if (works->readable == NULL || event_add(works->readable, NULL) != 0) {
        tn_err_sys(err, errno, "cannot watch for work that is done");
        tn_works_free(works);
        return NULL;
    }
    failed = start_threads(works);
    if (failed != 0) {
        tn_err_sys(err, failed, "cannot start a thread");
        tn_works_free(works);
        return NULL;
    }
    return works;
}

static void free_list(struct work_list *list)
{
    struct tn_work *work;

    while ((work = TAILQ_FIRST(list)) != NULL) {
        TAILQ_REMOVE(list, work, next);
        free(work);
    }
}

void tn_works_free(struct tn_works *works)
{
    if (works == NULL)
        return;
    pthread_mutex_lock(&works->lock);
    works->closing = true;
    pthread_cond_broadcast(&works->more);
    pthread_mutex_unlock(&works->lock);
    for (unsigned i = 0; i < works->count; i++)
        pthread_join(works->threads[i], NULL);
    free_list(&works->waiting);
    free_list(&works->done);
    if (works->readable != NULL)
        event_free(works->readable);
    if (works->wake >= 0)
        close(works->wake);
    pthread_cond_destroy(&works->ended);
    pthread_cond_destroy(&works->more);
    pthread_mutex_destroy(&works->lock);
    free(works);
}

struct tn_work *tn_work_start(struct tn_works *works, tn_work_run_cb *run, tn_work_done_cb *done, void *arg)
{
    struct tn_work *work = calloc(1, sizeof(*work));

    if (work == NULL)
        tn_fatal(3, "out of memory: a piece of work");
    *work = (struct tn_work){.works = works, .run = run, .done = done, .arg = arg};
    pthread_mutex_lock(&works->lock);
    TAILQ_INSERT_TAIL(&works->waiting, work, next);
    pthread_cond_signal(&works->more);
    pthread_mutex_unlock(&works->lock);
    return work;
}

bool tn_work_take(struct tn_work *work)
{
    struct tn_works *works = work->works;
    bool ran;

    pthread_mutex_lock(&works->lock);
    while (work->state == UNDER_WAY)
        pthread_cond_wait(&works->ended, &works->lock);
    ran = work->state == DONE;
    TAILQ_REMOVE(ran ? &works->done : &works->waiting, work, next);
    pthread_mutex_unlock(&works->lock);
    free(work);
    return ran;
}
