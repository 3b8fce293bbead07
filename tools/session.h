/* A private tenond and the connections to it: the bus (as a client), the published events, the data socket.
 *
 * It lives as long as this process: tenond ends, and ends everything, when this process is gone. Callbacks come from
 * the event loop. */
#ifndef TN_TOOLS_SESSION_H
#define TN_TOOLS_SESSION_H

#include "core/lib/err.h"
#include "core/peer/peer.h"
#include "tools/folders.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <sys/types.h>

struct session_handlers {
    void (*on_peer)(void *arg, uint16_t address, const char *state); /* PEER_STATE; may be NULL */
    void (*on_event)(void *arg, const cJSON *event);                 /* an EVENT's body; may be NULL */
    void (*on_death)(void *arg, const char *text);                   /* tenond ended by itself */
    void *arg;
};

/* All members are private to session.c but those marked. */
struct session {
    struct event_base *base; /* borrowed; public */
    struct tn_peer *bus;     /* owned; public once started */
    struct tn_peer *data;    /* owned; public once started */
    struct session_handlers handlers;
    struct tn_endpoint *events;
    struct event *events_readable;
    struct event *child; /* SIGCHLD */
    pid_t pid;           /* 0: not running */
    int status;          /* of its end */
    int life_fd;
    int ready_fd;
    char *state_log; /* owned: what tenond wrote before it had its own log */
    char *log;       /* owned: tenond's own log, or NULL */
    bool stopping;
};

/* Starts tenond and connects; dispatches the loop until that is done, at most 15 s. `*interrupted` is looked at between
 * events: when it becomes true, it fails with TN_ERR_UNAVAILABLE. `base` and `folders` are borrowed. */
int session_start(struct session *session, struct event_base *base, const struct folders *folders,
                  const struct session_handlers *handlers, const bool *interrupted, struct tn_err *err) TN_MUST_CHECK;
/* Ends it in order; after `patience_ms` with more and more force. Dispatches the loop meanwhile. `at_once`: without any
 * grace for what runs. */
void session_stop(struct session *session, unsigned patience_ms, bool at_once);
/* The last lines of tenond's log, each indented; the caller frees it. */
char *session_log_tail(const struct session *session);

#endif
