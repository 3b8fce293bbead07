/* The lines of an image pull, summed up for people: "3 of 7 layers, 45.2 of 120.0 MB, 11.3 MB/s". Pure. */
#ifndef TN_EXECUTORS_DOCKER_PULL_PROGRESS_H
#define TN_EXECUTORS_DOCKER_PULL_PROGRESS_H

#include "executors/docker/stream.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TN_PULL_LAYERS_MAX 256 /* an image has at most 127; further ones are not counted */
#define TN_PULL_TEXT_MAX 120

/* Start with all zero. No field is for callers. */
struct tn_pull_progress {
    struct {
        char id[20];
        bool done;
        int64_t bytes;
        int64_t total;
        int64_t unpacked; /* -1: not begun */
    } layers[TN_PULL_LAYERS_MAX];
    size_t n_layers;
    char retry[100]; /* "Retrying in 5 seconds": the engine's own */
};

void tn_pull_progress_add(struct tn_pull_progress *progress, const struct tn_docker_progress *line);

/* `elapsed_ms` since the begin gives the rate; 0: the pull is over, and only what came is told. False, and an empty
 * text, while no layer is known. `size` of TN_PULL_TEXT_MAX suffices. */
bool tn_pull_progress_text(const struct tn_pull_progress *progress, uint64_t elapsed_ms, char *text, size_t size);

#endif
