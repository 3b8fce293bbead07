/* The head of the answer to a request that turns its connection into a stream of bytes (attach). Pure: bytes in, a
 * verdict out; bounded before anything is kept.
 *
 * Source: Docker Engine API v1.41, "ContainerAttach": 101 UPGRADED, or 200 OK from what cannot upgrade; then raw
 * bytes. */
#ifndef TN_EXECUTORS_DOCKER_UPGRADE_H
#define TN_EXECUTORS_DOCKER_UPGRADE_H

#include "core/lib/buf.h"
#include "core/lib/err.h"

#define TN_UPGRADE_HEAD_MAX 16384 /* bytes of an answer's head */
#define TN_UPGRADE_BODY_MAX 4096  /* bytes of a refusal's text that are kept */

enum tn_upgrade_state {
    TN_UPGRADE_HEAD,    /* more is needed */
    TN_UPGRADE_OPEN,    /* the bytes from `*used` on belong to the stream */
    TN_UPGRADE_REFUSED, /* `status` is no success; the text is being collected until the connection ends */
};

/* Start with all zero, end with tn_upgrade_free(). */
struct tn_upgrade {
    enum tn_upgrade_state state;
    int status;
    struct tn_buf bytes; /* owned: the head, then a refusal's text */
};

/* Takes a piece of the answer; `*used` is how much of it belonged to the head or to a refusal. Fails with
 * TN_ERR_PROTOCOL when it is no HTTP, or with TN_ERR_LIMIT. */
int tn_upgrade_feed(struct tn_upgrade *upgrade, const char *bytes, size_t len, size_t *used,
                    struct tn_err *err) TN_MUST_CHECK;
/* A refusal in words: its status and the engine's text ("HTTP 409: container … is not running"). */
void tn_upgrade_refusal(const struct tn_upgrade *upgrade, char *text, size_t size);
void tn_upgrade_free(struct tn_upgrade *upgrade);

#endif
