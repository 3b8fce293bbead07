/* Tokens of AWS's registries (ECR): GetAuthorizationToken with an access key, which gives the name and password that
 * the engine is told. One HTTPS request on the loop; nothing blocks.
 *
 * Source: Amazon ECR API reference, "GetAuthorizationToken"; endpoints from AWS General Reference. */
#ifndef TN_EXECUTORS_DOCKER_ECR_H
#define TN_EXECUTORS_DOCKER_ECR_H

#include "executors/docker/credentials.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

struct tn_ecr_call;

#define TN_ECR_CA "/etc/ssl/certs/ca-certificates.crt" /* whom AWS's certificate must descend from; read when needed   \
                                                        */

/* What the name of a registry says. */
struct tn_ecr_host {
    char account[13];   /* "123456789012" */
    char region[40];    /* "eu-central-1" */
    char endpoint[120]; /* "https://api.ecr.eu-central-1.amazonaws.com" */
};

/* False unless `registry` is ACCOUNT.dkr.ecr[-fips].REGION.amazonaws.com[.cn]. Pure. */
bool tn_ecr_host_parse(const char *registry, struct tn_ecr_host *host);

/* The port of "https://HOST[:PORT]" or, on loopback only, "http://…". Fails with TN_ERR_CONFIG. Pure. */
int tn_ecr_endpoint_check(const char *endpoint, uint16_t *port, struct tn_err *err) TN_MUST_CHECK;

/* Borrowed for the call of tn_ecr_ask() only. */
struct tn_ecr_request {
    struct tn_ecr_host host;
    const char *endpoint; /* "" for the host's own */
    char *key_id;
    char *secret;
};

/* The end. Without an error `credentials` belong to the callee. `passes`: asking again may help. */
typedef void tn_ecr_done(const struct tn_credentials *credentials, const struct tn_err *err, bool passes, void *arg);

/* The answer of `status` with this body as credentials, or as an error that names `endpoint`. Pure. */
int tn_ecr_answer(const char *endpoint, int status, const char *body, size_t len, struct tn_credentials *credentials,
                  bool *passes, struct tn_err *err) TN_MUST_CHECK;

/* NULL if the endpoint is none or the certificates cannot be read. Else `done` comes from the loop. */
struct tn_ecr_call *tn_ecr_ask(struct event_base *base, const struct tn_ecr_request *request, tn_ecr_done *done,
                               void *arg, struct tn_err *err) TN_MUST_CHECK;
/* Without a callback. */
void tn_ecr_cancel(struct tn_ecr_call *call);

#endif
