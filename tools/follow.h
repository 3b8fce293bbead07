/* Keeps the model current and brings the steps' output, every byte once and in order.
 *
 * Events tell that there is something new. They may be lost: a gap in their sequence, a restart of the scheduler or a
 * silence of five seconds makes it ask for the snapshot, and logs are read by offset until their end is there. If that
 * does not come within three seconds of the pipeline's end, the log's file is read instead. */
#ifndef TN_TOOLS_FOLLOW_H
#define TN_TOOLS_FOLLOW_H

#include "tools/model.h"
#include "tools/session.h"

/* Where a step's output comes from. Stays valid until follow_close(). */
struct follow_source {
    char *workflow; /* owned, as all text here */
    char *job;
    char *step;
    unsigned index; /* of the task */
    unsigned total;
    const struct model_task *row; /* borrowed: the task */
    uint64_t task;
    uint32_t attempt;
    unsigned number; /* of the step */
    void *user;      /* the receiver's own */
};

struct follow_handlers {
    /* New output, `length` bytes; `end`: there is no more (length may be 0). */
    void (*on_output)(void *arg, struct follow_source *source, const uint8_t *bytes, size_t length, bool end);
    /* The scheduler refuses to say what it knows, or says it wrongly. */
    void (*on_failure)(void *arg, const struct tn_err *err);
    /* The pipeline has ended and everything was printed. Called once. */
    void (*on_complete)(void *arg);
    void *arg;
};

struct follow; /* opaque */

/* `session` and `model` are borrowed; the model's changes are to be passed on to follow_changed(). */
struct follow *follow_start(struct session *session, struct model *model, const struct follow_handlers *handlers);
void follow_close(struct follow *follow);
/* NULL is allowed for all of these. */
void follow_event(struct follow *follow, const cJSON *event);
void follow_peer(struct follow *follow, uint16_t address, const char *state);
void follow_changed(struct follow *follow, const struct model_change *change);
/* Is there output still to come that belongs before this change? */
bool follow_pending(const struct follow *follow, const struct model_change *change);

#endif
