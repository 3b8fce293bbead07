/* The one list of messages. Everything that passes between two processes of Tenon is in it.
 *
 * TN_MESSAGES(M) calls M(NAME, value, channel, senders, receivers, max_body, reply, meaning):
 *   NAME       TN_MSG_NAME is the kind
 *   value      its number on the wire; never reused
 *   channel    BUS (routed by tenon-bus), DATA (the second PAIR, straight to tenon-output), EVENT (published to everybody)
 *   senders    roles that may send it, receivers: roles that may get it (role letters below)
 *   max_body   the largest body in bytes; more is refused before anything is allocated
 *   reply      the kind that answers it, or NONE. A kind with a reply is reliable: it is sent again until the reply (or
 *              REFUSED) is there, and the receiver drops duplicates. A kind without one is a notice: it may be lost.
 *   meaning    one line; bodies are described in proto/README.md
 *
 * Enum, names, size checks and the permission table of the router and of every peer come from it. */
#ifndef TN_PROTO_MESSAGES_H
#define TN_PROTO_MESSAGES_H

/* Roles. An address is role << 8 | index; index 0 but for executors and clients, of which there may be several. */
#define TN_ROLES(R)                                                                                                    \
    R(KERNEL, 1, "kernel")                                                                                             \
    R(BUS, 2, "bus")                                                                                                   \
    R(SCHEDULER, 3, "scheduler")                                                                                       \
    R(COMPILER, 4, "compiler")                                                                                         \
    R(OUTPUT, 5, "output")                                                                                             \
    R(CLIENT, 6, "client")                                                                                             \
    R(EXECUTOR, 7, "executor")                                                                                         \
    R(EVENTS, 8, "events")

enum tn_role {
    TN_ROLE_NONE = 0,
#define TN_ROLE_ENUM(name, value, text) TN_ROLE_##name = value,
    TN_ROLES(TN_ROLE_ENUM)
#undef TN_ROLE_ENUM
        TN_ROLE_COUNT
};

/* Role letters of the list: sets of roles. */
#define TN_K (1u << TN_ROLE_KERNEL)
#define TN_B (1u << TN_ROLE_BUS)
#define TN_S (1u << TN_ROLE_SCHEDULER)
#define TN_C (1u << TN_ROLE_COMPILER)
#define TN_O (1u << TN_ROLE_OUTPUT)
#define TN_U (1u << TN_ROLE_CLIENT)
#define TN_X (1u << TN_ROLE_EXECUTOR)
#define TN_E (1u << TN_ROLE_EVENTS)
#define TN_WORKERS (TN_S | TN_C | TN_O | TN_X)
#define TN_PEERS (TN_WORKERS | TN_U)

#define TN_KIB(n) ((n) * 1024u)
#define TN_MIB(n) ((n) * 1024u * 1024u)

#define TN_MESSAGES(M)                                                                                                 \
    /* answers that fit any request */                                                                                 \
    M(ACK, 1, BUS, TN_PEERS | TN_K | TN_B, TN_PEERS | TN_K | TN_B, TN_KIB(64), NONE, "done; body optional")            \
    M(REFUSED, 2, BUS, TN_PEERS | TN_K | TN_B, TN_PEERS | TN_K | TN_B, TN_KIB(64), NONE, "not done: code and text")    \
    /* supervision */                                                                                                  \
    M(READY, 10, BUS, TN_WORKERS | TN_B, TN_K, TN_KIB(4), ACK, "start-up is over; says what confinement is applied")   \
    M(HEARTBEAT, 11, BUS, TN_WORKERS | TN_B, TN_K, 0, ACK, "the sender's loop turns")                                  \
    M(PEER_ADD, 12, BUS, TN_K, TN_B, TN_KIB(4), ACK, "bind a socket for this address and life")                        \
    M(PEER_STATE, 13, BUS, TN_K | TN_B, TN_PEERS | TN_B, TN_KIB(4), NONE, "a peer is up, down or given up")            \
    M(PROGRAM_START, 14, BUS, TN_X, TN_K, TN_KIB(256), PROGRAM_STARTED, "start a program that the manifest names")     \
    M(PROGRAM_STARTED, 15, BUS, TN_K, TN_X, TN_KIB(4), NONE, "it runs: pid, and what encloses it")                     \
    M(PROGRAM_STOP, 16, BUS, TN_X, TN_K, TN_KIB(4), ACK, "end it and every descendant; answered when none is left")    \
    M(PROGRAM_LIST, 17, BUS, TN_X, TN_K, TN_KIB(4), PROGRAM_LISTED, "which programs of mine run")                      \
    M(PROGRAM_LISTED, 18, BUS, TN_K, TN_X, TN_MIB(1), NONE, "their tasks, attempts, pids")                             \
    M(PROGRAM_EXITED, 19, BUS, TN_K, TN_X, TN_KIB(4), NONE, "a program ended: status")                                 \
    M(PROGRAM_CLEAR, 22, BUS, TN_X, TN_K, TN_KIB(16), PROGRAM_CLEARED, "remove a folder with all that a job left in it") \
    M(PROGRAM_CLEARED, 23, BUS, TN_K, TN_X, TN_KIB(4), NONE, "nothing of it is left")                                  \
    M(STATUS, 20, BUS, TN_U, TN_K, TN_KIB(4), STATUS_IS, "every process: state, life, restarts, confinement")          \
    M(BUS_STATUS, 26, BUS, TN_B, TN_K, TN_KIB(256), NONE, "what peers have sent, and what of it was not let through")  \
    M(PEER_CUT, 27, BUS, TN_B, TN_K, TN_KIB(4), NONE, "a peer was cut off, and why")                                   \
    M(STATUS_IS, 21, BUS, TN_K, TN_U, TN_KIB(256), NONE, "the answer to it")                                           \
    M(HOST_ASK, 28, BUS, TN_X, TN_K, TN_KIB(16), HOST_IS, "of the host: which runs are over, how much room a disk has")  \
    M(HOST_IS, 29, BUS, TN_K, TN_X, TN_KIB(16), NONE, "what can be told of it")                                        \
    /* compiler */                                                                                                     \
    M(COMPILE, 30, BUS, TN_U | TN_S, TN_C, TN_MIB(6), COMPILED, "a config's text and its parameters")                  \
    M(COMPILED, 31, BUS, TN_C, TN_U | TN_S, TN_MIB(64), NONE, "the plan, or null, and diagnostics")                    \
    /* pipelines */                                                                                                    \
    M(PIPELINE_CREATE, 40, BUS, TN_U, TN_S, TN_MIB(8), PIPELINE_CREATED, "record and start a pipeline")                \
    M(PIPELINE_CREATED, 41, BUS, TN_S, TN_U, TN_MIB(16), NONE, "its number, or the diagnostics")                       \
    M(PIPELINE_CANCEL, 42, BUS, TN_U, TN_S, TN_KIB(4), ACK, "end what runs, start nothing more")                       \
    M(PIPELINE_GET, 43, BUS, TN_U, TN_S, TN_KIB(4), PIPELINE_IS, "everything that is known of one pipeline")           \
    M(PIPELINE_IS, 44, BUS, TN_S, TN_U, TN_MIB(64), NONE, "the answer to it")                                          \
    /* executors */                                                                                                    \
    M(EXECUTOR_REGISTER, 50, BUS, TN_X, TN_S, TN_KIB(256), EXECUTOR_REGISTERED, "kind, state, environments found")     \
    M(EXECUTOR_REGISTERED, 51, BUS, TN_S, TN_X, TN_MIB(1), NONE, "which of the environments found are still leased")   \
    M(LEASE, 52, BUS, TN_S, TN_X, TN_MIB(16), ACK, "run this attempt of this task")                                    \
    M(TASK_CANCEL, 53, BUS, TN_S, TN_X, TN_KIB(4), ACK, "end this attempt")                                            \
    M(TASK_STATE, 54, BUS, TN_X, TN_S, TN_KIB(64), ACK, "an attempt's new state; answered once it is recorded")        \
    M(STEP_STATE, 55, BUS, TN_X, TN_S, TN_KIB(64), ACK, "a step's new state; answered once it is recorded")            \
    M(LEASE_KEY, 56, BUS, TN_S, TN_O, TN_KIB(4), ACK, "the key that the grants in leases are signed with")              \
    /* what everybody may hear */                                                                                      \
    M(EVENT, 60, EVENT, TN_S | TN_O | TN_B, TN_E, TN_KIB(256), NONE, "a state changed, or log bytes are there")        \
    /* bulk data */                                                                                                    \
    M(TASK_OPEN, 70, DATA, TN_X, TN_O, TN_MIB(4), TASK_OPENED, "begin or take up an attempt's output")                 \
    M(TASK_OPENED, 71, DATA, TN_O, TN_X, TN_MIB(2), NONE, "the last checkpoint and each stream's offset")              \
    M(STREAM_OPEN, 72, DATA, TN_X | TN_U, TN_O, TN_KIB(256), STREAM_OPENED, "begin or take up a stream of bytes")      \
    M(STREAM_OPENED, 73, DATA, TN_O, TN_X | TN_U, TN_KIB(16), NONE, "where to go on; whether it exists already")       \
    M(STREAM_WRITE, 74, DATA, TN_X | TN_U, TN_O, TN_MIB(1), ACK, "stream, offset, bytes")                              \
    M(STREAM_CLOSE, 75, DATA, TN_X | TN_U, TN_O, TN_KIB(16), STREAM_CLOSED, "its size; commit it, or drop it")         \
    M(STREAM_CLOSED, 76, DATA, TN_O, TN_X | TN_U, TN_KIB(64), NONE, "what was stored")                                 \
    M(CHECKPOINT, 77, DATA, TN_X, TN_O, TN_MIB(1), ACK, "agent cursor and runner state; answered once it is kept")     \
    M(BLOB_FIND, 78, DATA, TN_X, TN_O, TN_MIB(4), BLOB_FOUND, "a cache by keys, workspace layers, a source tree")    \
    M(BLOB_FOUND, 79, DATA, TN_O, TN_X, TN_MIB(1), NONE, "blobs, in the order to apply them")                          \
    M(BLOB_READ, 80, DATA, TN_X, TN_O, TN_KIB(4), BLOB_DATA, "bytes of a blob's tar, from an offset")                  \
    M(BLOB_DATA, 81, DATA, TN_O, TN_X, TN_MIB(1), NONE, "the bytes; fewer than asked at the end")                      \
    M(LOG_READ, 82, DATA, TN_U, TN_O, TN_KIB(4), LOG_DATA, "bytes of a step's log, from an offset")                    \
    M(LOG_DATA, 83, DATA, TN_O, TN_U, TN_MIB(1), NONE, "the bytes that are there")                                     \
    M(TASK_CLOSE, 84, DATA, TN_X, TN_O, TN_KIB(4), ACK, "the attempt is over: flush, fsync, forget")                   \
    /* room */                                                                                                         \
    M(DISK_STATE, 90, BUS, TN_O, TN_S, TN_KIB(4), NONE, "is there room for what further jobs keep?")

enum tn_msg_kind {
    TN_MSG_NONE = 0,
#define TN_MSG_ENUM(name, value, channel, senders, receivers, max_body, reply, meaning) TN_MSG_##name = value,
    TN_MESSAGES(TN_MSG_ENUM)
#undef TN_MSG_ENUM
};

enum tn_msg_channel { TN_CHANNEL_BUS, TN_CHANNEL_DATA, TN_CHANNEL_EVENT };

#endif
