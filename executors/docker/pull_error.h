/* What the engine's words about a pull that failed mean, for people and for the next attempt. Pure.
 *
 * The engine gives a status that says little (500 for a wrong password, a rate limit and a host that does not exist)
 * and a text that says much. The texts are those of moby and of the distribution project. */
#ifndef TN_EXECUTORS_DOCKER_PULL_ERROR_H
#define TN_EXECUTORS_DOCKER_PULL_ERROR_H

#include "executors/docker/image_ref.h"

#include <stdbool.h>

enum tn_pull_fault {
    TN_PULL_RATE_LIMIT,  /* 429: later */
    TN_PULL_REGISTRY,    /* 5xx, a broken connection, a timeout: later */
    TN_PULL_UNREACHABLE, /* refused, no route: later */
    TN_PULL_UNKNOWN,     /* words that are not known, without a status that blames the request: later */
    TN_PULL_NO_HOST,     /* its name does not exist; final, as all below */
    TN_PULL_CREDENTIALS, /* refused with credentials */
    TN_PULL_NONE_GIVEN,  /* refused without any */
    TN_PULL_MISSING,     /* no such repository or tag */
    TN_PULL_CERTIFICATE, /* TLS that the engine does not trust */
    TN_PULL_PLATFORM,    /* none for this host's architecture */
    TN_PULL_DISK,        /* the engine's disk is full */
    TN_PULL_REFUSED,     /* anything else with a 4xx status */
};

/* `status` is the engine's HTTP status (200: an error within the progress), `with_credentials`: some were sent. */
enum tn_pull_fault tn_pull_fault_of(int status, const char *words, bool with_credentials);

/* May the same request do better after a while? */
bool tn_pull_fault_passes(enum tn_pull_fault fault);
/* Did the registry answer, and say no? Else it could not be asked, or not be believed. */
bool tn_pull_fault_is_answer(enum tn_pull_fault fault);
/* Would another attempt of the job, perhaps on another host, help? Else the config is at fault. */
bool tn_pull_fault_is_infrastructure(enum tn_pull_fault fault);

/* The wait that the registry asks for ("retry-after: 1.5s"), in milliseconds; -1 when it names none. */
long tn_pull_retry_after_ms(const char *words);

/* One line: the image, what is wrong where, the engine's words, what to do. `credentials` says whose were sent ("user x
 * (auth in the config)"), or NULL. `size` of 1000 suffices; more is cut. */
void tn_pull_fault_text(enum tn_pull_fault fault, const struct tn_image_ref *image, const char *words,
                        const char *credentials, char *text, size_t size);

#endif
