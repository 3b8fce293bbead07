/* The lines of an image pull, summed up. */
#include "executors/docker/pull_progress.h"
#include "tests/unit/check.h"

#include <stdio.h>

static struct tn_pull_progress progress;

static void add_of(const char *id, const char *status, int64_t current, int64_t total)
{
    struct tn_docker_progress line = {.current = current, .total = total};

    snprintf(line.id, sizeof(line.id), "%.*s", (int)sizeof(line.id) - 1, id);
    snprintf(line.status, sizeof(line.status), "%.*s", (int)sizeof(line.status) - 1, status);
    tn_pull_progress_add(&progress, &line);
}

static void add(const char *id, const char *status, int64_t current)
{
    add_of(id, status, current, -1);
}

static const char *text(uint64_t elapsed_ms)
{
    static char out[TN_PULL_TEXT_MAX];

    (void)tn_pull_progress_text(&progress, elapsed_ms, out, sizeof(out));
    return out;
}

int main(void)
{
    char id[TN_PULL_TEXT_MAX];

    CHECK(!tn_pull_progress_text(&progress, 1, id, sizeof(id)));
    add("latest", "Pulling from library/alpine", -1);
    add("", "Digest: sha256:0", -1);
    CHECK_STR(text(1), "");
    add("aaa", "Pulling fs layer", -1);
    add("bbb", "Already exists", -1);
    add_of("aaa", "Downloading", 5000000, 20000000);
    CHECK_STR(text(2500), "1 of 2 layers, 5.0 of 20.0 MB, 2.0 MB/s");
    add("aaa", "Retrying in 5 seconds", -1);
    CHECK_STR(text(5000), "1 of 2 layers, 5.0 of 20.0 MB, 1.0 MB/s, Retrying in 5 seconds");
    add("aaa", "Extracting", 1); /* the bytes that were loaded stay */
    CHECK_STR(text(5000), "1 of 2 layers, 5.0 of 20.0 MB, 1.0 MB/s, unpacking");
    add("aaa", "Pull complete", -1);
    CHECK_STR(text(0), "2 layers, 5.0 MB");
    add_of("small", "Extracting", 1, 100000);
    CHECK_STR(text(0), "3 layers, 5.1 MB");
    /* An engine that lies about sizes and names without end. */
    add("ccc", "Downloading", INT64_MAX);
    CHECK_STR(text(0), "4 layers, 9223372036854.8 MB");
    for (int i = 0; i < 2 * TN_PULL_LAYERS_MAX; i++) {
        snprintf(id, sizeof(id), "layer with a name longer than is kept %d", i);
        add(id, "Downloading", 1);
        snprintf(id, sizeof(id), "%d", i);
        add(id, "Downloading", 1);
    }
    CHECK_STR(text(0), "256 layers, 9223372036854.8 MB");
    return tn_check_result();
}
