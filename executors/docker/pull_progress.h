/* The lines of an image pull, summed up for people: "layer 3/7, 45 MB". Pure. */
#ifndef TN_EXECUTORS_DOCKER_PULL_PROGRESS_H
#define TN_EXECUTORS_DOCKER_PULL_PROGRESS_H

#include "executors/docker/stream.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TN_PULL_LAYERS_MAX 256 /* an image has at most 127; further ones are not counted */

/* Start with all zero. No field is for callers. */
struct tn_pull_progress {
    struct {
        char id[20];
        bool done;
        int64_t bytes;
    } layers[TN_PULL_LAYERS_MAX];
    size_t n_layers;
};

void tn_pull_progress_add(struct tn_pull_progress *progress, const struct tn_docker_progress *line);

/* False, and an empty text, while no layer is known. `size` of 80 suffices. */
bool tn_pull_progress_text(const struct tn_pull_progress *progress, char *text, size_t size);

#endif
