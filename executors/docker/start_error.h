/* Why a container cannot be made or started, in words that name what is wrong in the config or in the image, where the
 * engine's own words mean that. Pure. */
#ifndef TN_EXECUTORS_DOCKER_START_ERROR_H
#define TN_EXECUTORS_DOCKER_START_ERROR_H

#include <stdbool.h>
#include <stddef.h>

/* `engine` is the engine's error, `image` the image's name. False, and nothing in `out`, if the words are not known or
 * are about the agent's own program. Recognised are those of runc 1.0 to 1.2 and crun 1.8, as Docker passes them on. */
bool tn_start_error_text(const char *engine, const char *image, char *out, size_t size);

/* What a container's program wrote at last, if that is what runc writes in its place when the kernel cannot execute
 * it: the reason, in words. */
bool tn_start_error_of_output(const char *output, size_t length, char *out, size_t size);

#endif
