#include "tools/follow.h"

#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    READ_BYTES = 256 * 1024,
    PENDING_MAX = 10000,    /* events kept while a snapshot is on its way */
    TICK_MS = 250,          /* safety net: see on_tick() */
    SILENCE_MS = 5000,      /* without an event: ask */
    RUNNING_READ_MS = 1000, /* without a word about a running step's log: read */
    END_WAIT_MS = 3000,     /* after the pipeline's end, for logs that do not end: then their files are read */
};

#define OUTPUT TN_ADDRESS(TN_ROLE_OUTPUT, 0)
#define SCHEDULER TN_ADDRESS(TN_ROLE_SCHEDULER, 0)

/* One step's log. */
struct reading {
    struct follow_source source;
    struct follow *follow;
    uint64_t offset; /* read so far */
    uint64_t size;   /* known to be there */
    uint64_t asked_ms;
    bool asking;     /* LOG_READ is on its way */
    bool step_ended; /* the scheduler says so */
    bool done;
};

struct follow {
    struct session *session;
    struct model *model;
    struct follow_handlers handlers;
    struct event *tick;
    struct reading **readings; /* owned; in the order in which they began */
    size_t reading_count;
    cJSON *pending[PENDING_MAX]; /* owned: events to offer again after the snapshot */
    size_t pending_count;
    bool asking; /* PIPELINE_GET is on its way */
    bool again;  /* ask once more when it is answered */
    bool complete;
    uint64_t heard_ms;
    uint64_t ended_ms; /* when the pipeline's end was seen, or of the last progress after it */
};

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

static void check_complete(struct follow *follow);

/* ---- logs ---- */

static struct reading *find_reading(const struct follow *follow, uint64_t task, uint32_t attempt, unsigned number)
{
    for (size_t i = follow->reading_count; i-- > 0;) {
        const struct follow_source *source = &follow->readings[i]->source;

        if (source->task == task && source->attempt == attempt && source->number == number)
            return follow->readings[i];
    }
    return NULL;
}

static struct reading *add_reading(struct follow *follow, const struct model_task *task, const struct model_step *step)
{
    struct reading *reading = calloc(1, sizeof(*reading));
    struct reading **readings = reallocarray(follow->readings, follow->reading_count + 1, sizeof(struct reading *));

    if (reading == NULL || readings == NULL)
        tn_fatal(3, "out of memory: the log of a step");
    reading->follow = follow;
    reading->source.workflow = tn_fs_path("%s", task->job->workflow->name);
    reading->source.job = tn_fs_path("%s", task->job->name);
    reading->source.step = tn_fs_path("%s", step->name);
    reading->source.index = task->index;
    reading->source.total = task->total;
    reading->source.row = task;
    reading->source.task = task->id;
    reading->source.attempt = task->attempt;
    reading->source.number = step->number;
    follow->readings = readings;
    readings[follow->reading_count++] = reading;
    return reading;
}

static void read_more(struct reading *reading);

static void finish_reading(struct reading *reading)
{
    struct follow *follow = reading->follow;

    reading->done = true;
    follow->handlers.on_output(follow->handlers.arg, &reading->source, NULL, 0, true);
    check_complete(follow);
}

static void on_log(void *arg, const struct tn_msg *reply)
{
    struct reading *reading = arg;
    struct follow *follow = reading->follow;
    struct tn_chunk chunk;
    size_t length;

    reading->asking = false;
    if (reading->done)
        return;
    if (reply->header.kind == TN_MSG_REFUSED) {
        /* There is no log (yet); a step that has ended without one never gets one. */
        if (reading->step_ended)
            finish_reading(reading);
        return;
    }
    if (tn_chunk_decode(reply->body, reply->header.length, &chunk, NULL) != 0 || chunk.offset != reading->offset) {
        read_more(reading);
        return;
    }
    length = reply->header.length - TN_CHUNK_SIZE;
    if (length > 0) {
        reading->offset += length;
        follow->ended_ms = now_ms();
        follow->handlers.on_output(follow->handlers.arg, &reading->source, reply->body + TN_CHUNK_SIZE, length, false);
    }
    if ((chunk.flags & TN_CHUNK_END) != 0)
        finish_reading(reading);
    else if (length > 0 && (reading->size > reading->offset || reading->step_ended || length >= READ_BYTES / 2))
        read_more(reading);
}

static void read_more(struct reading *reading)
{
    struct follow *follow = reading->follow;
    cJSON *body;
    char *text;

    if (reading->asking || reading->done)
        return;
    body = cJSON_CreateObject();
    cJSON_AddNumberToObject(body, "step", reading->source.number);
    tn_json_add_u64(body, "offset", reading->offset);
    cJSON_AddNumberToObject(body, "length", READ_BYTES);
    text = tn_json_print(body);
    reading->asking = true;
    reading->asked_ms = now_ms();
    tn_peer_request(follow->session->data, TN_MSG_LOG_READ, OUTPUT, reading->source.task, reading->source.attempt, text,
                    strlen(text), 0, on_log, reading);
    free(text);
    cJSON_Delete(body);
}

static void log_event(struct follow *follow, const cJSON *event)
{
    struct reading *reading =
        find_reading(follow, tn_json_u64(event, "task", 0), (uint32_t)tn_json_u64(event, "attempt", 0),
                     (unsigned)tn_json_u64(event, "step", 0));

    if (reading == NULL)
        return; /* the step's own event is not here yet; it is read when it comes */
    reading->size = tn_json_u64(event, "size", 0);
    if (reading->size > reading->offset || tn_json_bool(event, "ended", false))
        read_more(reading);
}

static void step_changed(struct follow *follow, const struct model_task *task, const struct model_step *step)
{
    struct reading *reading;

    if (strcmp(step->state, "skipped") == 0)
        return;
    reading = find_reading(follow, task->id, task->attempt, step->number);
    if (reading == NULL)
        reading = add_reading(follow, task, step);
    if (model_state_ended(step->state))
        reading->step_ended = true;
    read_more(reading);
}

/* What an attempt that is over has left of output: its steps may never be told to have ended. */
static void attempt_over(struct follow *follow, const struct model_task *task, bool task_ended)
{
    for (size_t i = 0; i < follow->reading_count; i++) {
        struct reading *reading = follow->readings[i];

        if (reading->source.task == task->id && !reading->done && !reading->step_ended &&
            (reading->source.attempt < task->attempt || task_ended)) {
            reading->step_ended = true;
            read_more(reading);
        }
    }
}

void follow_changed(struct follow *follow, const struct model_change *change)
{
    if (follow == NULL)
        return;
    if (change->what == MODEL_STEP)
        step_changed(follow, change->task, change->step);
    else if (change->what == MODEL_TASK)
        attempt_over(follow, change->task, model_state_ended(change->task->state));
    else if (change->what == MODEL_PIPELINE)
        check_complete(follow);
}

static bool belongs(const struct reading *reading, const struct model_change *change)
{
    const struct follow_source *source = &reading->source;

    switch (change->what) {
    case MODEL_PIPELINE:
        return true;
    case MODEL_WORKFLOW:
        return source->row->job->workflow == change->workflow;
    case MODEL_JOB:
        return source->row->job == change->job;
    case MODEL_TASK:
        return source->row == change->task;
    case MODEL_STEP:
        return source->row == change->task && source->attempt == change->step->attempt &&
               source->number == change->step->number;
    }
    return false;
}

bool follow_pending(const struct follow *follow, const struct model_change *change)
{
    for (size_t i = 0; follow != NULL && i < follow->reading_count; i++)
        if (!follow->readings[i]->done && belongs(follow->readings[i], change))
            return true;
    return false;
}

/* ---- the snapshot ---- */

static void ask(struct follow *follow);

static void drop_pending(struct follow *follow)
{
    for (size_t i = 0; i < follow->pending_count; i++)
        cJSON_Delete(follow->pending[i]);
    follow->pending_count = 0;
}

/* Offers the events again that came while the snapshot was on its way. */
static void offer_pending(struct follow *follow)
{
    size_t i;

    for (i = 0; i < follow->pending_count; i++)
        if (model_event(follow->model, follow->pending[i]) == MODEL_GAP)
            follow->again = true; /* the next snapshot contains it */
    drop_pending(follow);
}

static void fail(struct follow *follow, const struct tn_err *err)
{
    follow->handlers.on_failure(follow->handlers.arg, err);
}

static void on_snapshot(void *arg, const struct tn_msg *reply)
{
    struct follow *follow = arg;
    struct tn_err err = TN_ERR_INIT;
    auto_json cJSON *body = tn_json_parse(reply->body, reply->header.length, tn_msg_name(reply->header.kind), &err);

    follow->asking = false;
    if (body != NULL && reply->header.kind == TN_MSG_REFUSED)
        tn_err_set(&err, TN_ERR_UNAVAILABLE, "the scheduler does not say how the pipeline stands: %s",
                   tn_json_string(body, "text", "no reason given"));
    else if (body != NULL && model_snapshot(follow->model, body, &err) == 0)
        offer_pending(follow);
    if (err.code != TN_OK) {
        fail(follow, &err);
        return;
    }
    if (follow->again)
        ask(follow);
    check_complete(follow);
}

static void ask(struct follow *follow)
{
    cJSON *body;
    char *text;

    follow->again = follow->asking;
    if (follow->asking)
        return;
    body = cJSON_CreateObject();
    cJSON_AddStringToObject(body, "id", follow->model->id);
    text = tn_json_print(body);
    follow->asking = true;
    follow->heard_ms = now_ms();
    tn_peer_request(follow->session->bus, TN_MSG_PIPELINE_GET, SCHEDULER, 0, 0, text, strlen(text), 0, on_snapshot,
                    follow);
    free(text);
    cJSON_Delete(body);
}

static void row_event(struct follow *follow, const cJSON *event)
{
    if (!follow->asking && model_event(follow->model, event) != MODEL_GAP)
        return;
    if (follow->pending_count < PENDING_MAX)
        follow->pending[follow->pending_count++] = cJSON_Duplicate(event, true);
    else
        follow->again = true;
    if (!follow->asking)
        ask(follow);
}

void follow_event(struct follow *follow, const cJSON *event)
{
    const char *what = tn_json_string(event, "event", "");

    if (follow == NULL || strcmp(what, "peer") == 0)
        return;
    if (strcmp(what, "log") == 0) {
        log_event(follow, event);
        return;
    }
    follow->heard_ms = now_ms();
    row_event(follow, event);
}

void follow_peer(struct follow *follow, uint16_t address, const char *state)
{
    if (follow != NULL && address == SCHEDULER && strcmp(state, "up") == 0)
        ask(follow);
}

/* ---- the end ---- */

static const char *log_path(const struct follow_source *source)
{
    const struct model_task *task = source->row;

    for (size_t i = 0; i < task->step_count; i++)
        if (task->steps[i]->number == source->number && task->steps[i]->attempt == source->attempt)
            return task->steps[i]->log;
    for (size_t i = 0; i < task->former_count; i++)
        if (task->former[i]->number == source->number && task->former[i]->attempt == source->attempt)
            return task->former[i]->log;
    return "";
}

/* When the pipeline has ended, the files are complete; the output service, which was killed perhaps, may be slow to say
 * so. */
static void read_file(struct reading *reading)
{
    struct follow *follow = reading->follow;
    const char *path = log_path(&reading->source);
    auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    auto_free uint8_t *bytes = malloc(READ_BYTES);
    ssize_t got = -1;

    if (bytes == NULL)
        tn_fatal(3, "out of memory: the log of a step");
    while (fd >= 0 && (got = pread(fd, bytes, READ_BYTES, (off_t)reading->offset)) > 0) {
        reading->offset += (uint64_t)got;
        follow->handlers.on_output(follow->handlers.arg, &reading->source, bytes, (size_t)got, false);
    }
    if (got < 0 && path[0] != '\0')
        tn_warn("the end of the output of step \"%s\" of job %s is missing; see its log file %s", reading->source.step,
                reading->source.job, path);
    reading->done = true;
    follow->handlers.on_output(follow->handlers.arg, &reading->source, NULL, 0, true);
}

static void check_complete(struct follow *follow)
{
    bool late;

    if (follow->complete || !model_ended(follow->model))
        return;
    if (follow->ended_ms == 0)
        follow->ended_ms = now_ms();
    late = now_ms() > follow->ended_ms + END_WAIT_MS;
    for (size_t i = 0; i < follow->reading_count; i++) {
        struct reading *reading = follow->readings[i];

        if (reading->done)
            continue;
        if (!late)
            return;
        read_file(reading);
    }
    follow->complete = true;
    follow->handlers.on_complete(follow->handlers.arg);
}

/* Nothing here is needed while every event arrives. */
static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct follow *follow = arg;
    uint64_t now = now_ms();

    if (!follow->complete && now > follow->heard_ms + SILENCE_MS)
        ask(follow);
    for (size_t i = 0; i < follow->reading_count; i++) {
        struct reading *reading = follow->readings[i];

        if (!reading->done && !reading->asking &&
            now > reading->asked_ms + (reading->step_ended ? TICK_MS / 2 : RUNNING_READ_MS))
            read_more(reading);
    }
    check_complete(follow);
}

struct follow *follow_start(struct session *session, struct model *model, const struct follow_handlers *handlers)
{
    struct follow *follow = calloc(1, sizeof(*follow));
    struct timeval every = {0, TICK_MS * 1000};

    if (follow == NULL)
        tn_fatal(3, "out of memory: following a pipeline");
    follow->session = session;
    follow->model = model;
    follow->handlers = *handlers;
    follow->tick = event_new(session->base, -1, EV_PERSIST, on_tick, follow);
    if (follow->tick == NULL || event_add(follow->tick, &every) != 0)
        tn_fatal(3, "cannot start a timer");
    ask(follow);
    return follow;
}

void follow_close(struct follow *follow)
{
    if (follow == NULL)
        return;
    event_free(follow->tick);
    tn_peer_forget(follow->session->bus, follow);
    for (size_t i = 0; i < follow->reading_count; i++) {
        struct reading *reading = follow->readings[i];

        tn_peer_forget(follow->session->data, reading);
        free(reading->source.workflow);
        free(reading->source.job);
        free(reading->source.step);
        free(reading);
    }
    free(follow->readings);
    drop_pending(follow);
    free(follow);
}
