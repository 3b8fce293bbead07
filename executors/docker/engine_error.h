/* What a failed request to the Docker Engine is reported as: address, request, status, the engine's own words, and what
 * to do. Pure; engine.c calls it. */
#ifndef TN_EXECUTORS_DOCKER_ENGINE_ERROR_H
#define TN_EXECUTORS_DOCKER_ENGINE_ERROR_H

#include "core/lib/err.h"
#include "executors/docker/http.h"
#include "executors/docker/image_ref.h"

#include <cjson/cJSON.h>
#include <stdbool.h>

/* The request that failed; all borrowed. */
struct tn_engine_request_name {
    const char *address; /* of the engine */
    const char *method;
    const char *path;                 /* without the API version; holds no secret */
    const struct tn_image_ref *image; /* the image that it is about, or NULL */
    bool is_pull;
    unsigned deadline_ms;
};

/* No HTTP answer: nobody there, no permission, too late, broken off. */
void tn_engine_error_transport(const struct tn_engine_request_name *name, const struct tn_http_result *result,
                               struct tn_err *err);

/* Of a pull, the following two give the bare words of the engine: pull_error.h says what they mean. */
/* An HTTP status that is no success. `json` is the parsed answer or NULL, `text` the answer itself or NULL. */
void tn_engine_error_status(const struct tn_engine_request_name *name, int status, const cJSON *json, const char *text,
                            struct tn_err *err);

/* An error within an answer that began as a success: what the decoder said. */
void tn_engine_error_stream(const struct tn_engine_request_name *name, const struct tn_err *decoder,
                            struct tn_err *err);

#endif
