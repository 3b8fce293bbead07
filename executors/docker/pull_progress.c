#include "executors/docker/pull_progress.h"

#include <stdio.h>
#include <string.h>

void tn_pull_progress_add(struct tn_pull_progress *progress, const struct tn_docker_progress *line)
{
    size_t i = 0;

    /* The first line has the tag for its id. */
    if (line->id[0] == '\0' || strncmp(line->status, "Pulling from", strlen("Pulling from")) == 0)
        return;
    while (i < progress->n_layers && strncmp(progress->layers[i].id, line->id, sizeof(progress->layers[i].id) - 1) != 0)
        i++;
    if (i == TN_PULL_LAYERS_MAX)
        return;
    if (i == progress->n_layers) {
        snprintf(progress->layers[i].id, sizeof(progress->layers[i].id), "%.*s",
                 (int)sizeof(progress->layers[i].id) - 1, line->id);
        progress->n_layers++;
    }
    if (strcmp(line->status, "Downloading") == 0 && line->current > progress->layers[i].bytes)
        progress->layers[i].bytes = line->current;
    if (strcmp(line->status, "Pull complete") == 0 || strcmp(line->status, "Already exists") == 0)
        progress->layers[i].done = true;
}

bool tn_pull_progress_text(const struct tn_pull_progress *progress, char *text, size_t size)
{
    int64_t bytes = 0;
    size_t done = 0;

    text[0] = '\0';
    if (progress->n_layers == 0)
        return false;
    for (size_t i = 0; i < progress->n_layers; i++) {
        /* Each is at most 2^63 - 1 in a stranger's words: no overflow. */
        bytes = progress->layers[i].bytes > INT64_MAX - bytes ? INT64_MAX : bytes + progress->layers[i].bytes;
        done += progress->layers[i].done;
    }
    snprintf(text, size, "layer %zu/%zu, %lld MB", done, progress->n_layers, (long long)(bytes / 1000000));
    return true;
}
