/* The lines of an image pull, summed up. */
#include "executors/docker/pull_progress.h"
#include "tests/unit/check.h"

#include <stdio.h>

static struct tn_pull_progress progress;

static void add(const char *id, const char *status, int64_t current)
{
    struct tn_docker_progress line = {.current = current, .total = -1};

    snprintf(line.id, sizeof(line.id), "%s", id);
    snprintf(line.status, sizeof(line.status), "%s", status);
    tn_pull_progress_add(&progress, &line);
}

static const char *text(void)
{
    static char out[80];

    (void)tn_pull_progress_text(&progress, out, sizeof(out));
    return out;
}

int main(void)
{
    char id[80];

    CHECK(!tn_pull_progress_text(&progress, id, sizeof(id)));
    add("latest", "Pulling from library/alpine", -1);
    add("", "Digest: sha256:0", -1);
    CHECK_STR(text(), "");
    add("aaa", "Pulling fs layer", -1);
    add("bbb", "Already exists", -1);
    add("aaa", "Downloading", 5000000);
    CHECK_STR(text(), "layer 1/2, 5 MB");
    add("aaa", "Extracting", 1); /* the bytes that were loaded stay */
    add("aaa", "Pull complete", -1);
    CHECK_STR(text(), "layer 2/2, 5 MB");
    /* An engine that lies about sizes and names without end. */
    add("ccc", "Downloading", INT64_MAX);
    CHECK_STR(text(), "layer 2/3, 9223372036854 MB");
    for (int i = 0; i < 2 * TN_PULL_LAYERS_MAX; i++) {
        snprintf(id, sizeof(id), "layer with a name longer than is kept %d", i);
        add(id, "Downloading", 1);
        snprintf(id, sizeof(id), "%d", i);
        add(id, "Downloading", 1);
    }
    CHECK_STR(text(), "layer 2/256, 9223372036854 MB");
    return tn_check_result();
}
