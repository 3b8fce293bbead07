#include "executors/docker/pull_progress.h"

#include <stdio.h>
#include <string.h>

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

void tn_pull_progress_add(struct tn_pull_progress *progress, const struct tn_docker_progress *line)
{
    size_t i = 0;

    /* The first line has the tag for its id. */
    if (line->id[0] == '\0' || begins(line->status, "Pulling from"))
        return;
    while (i < progress->n_layers && strncmp(progress->layers[i].id, line->id, sizeof(progress->layers[i].id) - 1) != 0)
        i++;
    if (i == TN_PULL_LAYERS_MAX)
        return;
    if (i == progress->n_layers) {
        snprintf(progress->layers[i].id, sizeof(progress->layers[i].id), "%.*s",
                 (int)sizeof(progress->layers[i].id) - 1, line->id);
        progress->layers[i].unpacked = -1;
        progress->n_layers++;
    }
    progress->retry[0] = '\0';
    if (begins(line->status, "Retrying in"))
        snprintf(progress->retry, sizeof(progress->retry), "%.90s", line->status);
    if (strcmp(line->status, "Downloading") == 0 && line->current > progress->layers[i].bytes)
        progress->layers[i].bytes = line->current;
    if (strcmp(line->status, "Downloading") == 0 && line->total > progress->layers[i].total)
        progress->layers[i].total = line->total;
    if (strcmp(line->status, "Extracting") == 0) {
        progress->layers[i].unpacked = line->current;
        if (line->total > progress->layers[i].bytes) /* a small layer comes without a word of its download */
            progress->layers[i].bytes = progress->layers[i].total = line->total;
    }
    if (strcmp(line->status, "Pull complete") == 0 || strcmp(line->status, "Already exists") == 0)
        progress->layers[i].done = true;
}

/* Each is at most 2^63 - 1 in a stranger's words: no overflow. */
static int64_t add(int64_t sum, int64_t more)
{
    return more > INT64_MAX - sum ? INT64_MAX : sum + more;
}

bool tn_pull_progress_text(const struct tn_pull_progress *progress, uint64_t elapsed_ms, char *text, size_t size)
{
    int64_t bytes = 0;
    int64_t total = 0;
    size_t done = 0;
    size_t unpacking = 0;
    size_t used;

    text[0] = '\0';
    if (progress->n_layers == 0)
        return false;
    for (size_t i = 0; i < progress->n_layers; i++) {
        bytes = add(bytes, progress->layers[i].bytes);
        total = add(total, progress->layers[i].total);
        done += progress->layers[i].done;
        unpacking += !progress->layers[i].done && progress->layers[i].unpacked >= 0;
    }
    if (elapsed_ms == 0) {
        snprintf(text, size, "%zu layers, %.1f MB", progress->n_layers, (double)bytes / 1e6);
        return true;
    }
    snprintf(text, size, "%zu of %zu layers, %.1f of %.1f MB, %.1f MB/s", done, progress->n_layers, (double)bytes / 1e6,
             (double)(total > bytes ? total : bytes) / 1e6, (double)bytes / 1e3 / (double)elapsed_ms);
    used = strlen(text);
    if (progress->retry[0] != '\0')
        snprintf(text + used, size - used, ", %.40s", progress->retry);
    else if (unpacking > 0)
        snprintf(text + used, size - used, ", unpacking");
    return true;
}
