/* AWS Signature Version 4 of a request, as its Authorization header. Pure.
 *
 * Source: AWS General Reference, "Signature Version 4 signing process", whose examples are the unit test's. */
#ifndef TN_EXECUTORS_DOCKER_SIGV4_H
#define TN_EXECUTORS_DOCKER_SIGV4_H

#include <stddef.h>
#include <time.h>

#define TN_SIGV4_DATE 17 /* bytes of "20150830T123600Z" */

struct tn_sigv4_header {
    const char *name; /* in lower case */
    const char *value;
};

/* All borrowed. */
struct tn_sigv4 {
    const char *method;
    const char *path;                      /* percent-encoded; without a query */
    const struct tn_sigv4_header *headers; /* sorted by name; host and x-amz-date must be among them */
    size_t n_headers;
    const void *body;
    size_t body_len;
    const char *region;
    const char *service;
    const char *key_id;
    const char *secret;
    time_t when;
};

/* The value of the x-amz-date header. */
void tn_sigv4_date(time_t when, char date[TN_SIGV4_DATE]);
/* The value of the Authorization header; the caller frees it. */
char *tn_sigv4_authorization(const struct tn_sigv4 *request);

#endif
