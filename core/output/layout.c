#include "core/output/layout.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <string.h>

void tn_layout_hex(const uint8_t *bytes, size_t count, char *out)
{
    out[0] = '\0';
    for (size_t i = 0; i < count; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

void tn_layout_hash(const char *text, char out[65])
{
    unsigned char digest[32] = {0};

    if (EVP_Digest(text, strlen(text), digest, NULL, EVP_sha256(), NULL) != 1)
        memset(digest, 0, sizeof(digest));
    tn_layout_hex(digest, sizeof(digest), out);
}

void tn_layout_init(struct tn_layout *layout, const char *state, const char *store)
{
    char hash[65];

    layout->state = state;
    layout->store = store;
    tn_layout_hash(state, hash);
    memcpy(layout->run, hash, 16);
    layout->run[16] = '\0';
}

char *tn_layout_name(const char *name)
{
    auto_free char *safe = tn_fs_safe_name(name);
    char hash[65];

    if (strcmp(safe, name) == 0)
        return steal_ptr(&safe);
    tn_layout_hash(name, hash);
    return tn_fs_path("%s-%.8s", safe, hash);
}

static char *place_path(const char *state, const char *kind, const struct tn_place *place)
{
    auto_free char *workflow = tn_layout_name(place->workflow);
    auto_free char *job = tn_layout_name(place->job);

    return tn_fs_path("%s/%s/%s/%s", state, kind, workflow, job);
}

char *tn_layout_logs(const struct tn_layout *layout, const struct tn_place *place)
{
    auto_free char *path = place_path(layout->state, "logs", place);

    if (place->total > 1)
        return tn_fs_path("%s-%u/attempt-%" PRIu32, path, place->index, place->attempt);
    return tn_fs_path("%s/attempt-%" PRIu32, path, place->attempt);
}

char *tn_layout_log(const struct tn_layout *layout, const struct tn_place *place, unsigned step, const char *name)
{
    auto_free char *folder = tn_layout_logs(layout, place);
    auto_free char *safe = tn_fs_safe_name(name);

    return tn_fs_path("%s/%02u-%s.log", folder, step, safe);
}

char *tn_layout_artifacts(const struct tn_layout *layout, const struct tn_place *place)
{
    auto_free char *path = place_path(layout->state, "artifacts", place);

    return tn_fs_path("%s/%u", path, place->index);
}

char *tn_layout_tests(const struct tn_layout *layout, const struct tn_place *place)
{
    auto_free char *path = place_path(layout->state, "test-results", place);

    return tn_fs_path("%s/%u", path, place->index);
}

char *tn_layout_timings_folder(const struct tn_layout *layout)
{
    return tn_fs_path("%s/timings", layout->store);
}

char *tn_layout_timings(const struct tn_layout *layout, const char *project, const char *job)
{
    auto_free char *scope = tn_layout_name(project);
    auto_free char *name = tn_layout_name(job);

    return tn_fs_path("%s/timings/scope-%s/%s.tar", layout->store, scope, name);
}

char *tn_layout_timings_pin(const struct tn_layout *layout, const char *pipeline, const char *job)
{
    auto_free char *first = tn_layout_name(pipeline);
    auto_free char *second = tn_layout_name(job);

    return tn_fs_path("%s/test-results/.timings/%s.%s.tar", layout->state, first, second);
}

char *tn_layout_record(const struct tn_layout *layout, uint64_t task, uint32_t attempt)
{
    return tn_fs_path("%s/output/%" PRIu64 ".%" PRIu32, layout->state, task, attempt);
}

char *tn_layout_partial_folder(const struct tn_layout *layout, bool in_store)
{
    return in_store ? tn_fs_path("%s/caches/partial", layout->store) : tn_fs_path("%s/output/partial", layout->state);
}

char *tn_layout_partial_prefix(const struct tn_layout *layout, bool in_store, uint64_t task, uint32_t attempt)
{
    return tn_fs_path("%s%s%" PRIu64 ".%" PRIu32 ".", in_store ? layout->run : "", in_store ? "-" : "", task, attempt);
}

char *tn_layout_partial(const struct tn_layout *layout, bool in_store, uint64_t task, uint32_t attempt, uint32_t owner,
                        uint32_t stream)
{
    auto_free char *folder = tn_layout_partial_folder(layout, in_store);
    auto_free char *prefix = tn_layout_partial_prefix(layout, in_store, task, attempt);

    return tn_fs_path("%s/%s%" PRIx32 ".%" PRIu32, folder, prefix, owner, stream);
}

char *tn_layout_workspace(const struct tn_layout *layout, uint64_t task, uint32_t attempt, unsigned step)
{
    return tn_fs_path("%s/workspaces/%" PRIu64 ".%" PRIu32 ".%u.tar.zst", layout->state, task, attempt, step);
}

char *tn_layout_source(const struct tn_layout *layout, const char *pipeline)
{
    auto_free char *name = tn_layout_name(pipeline);

    return tn_fs_path("%s/sources/%s.tar.zst", layout->state, name);
}

char *tn_layout_scope(const struct tn_layout *layout, const char *project)
{
    auto_free char *name = tn_layout_name(project);

    return tn_fs_path("%s/caches/scope-%s", layout->store, name);
}

char *tn_layout_cache(const struct tn_layout *layout, const char *project, const char *key)
{
    auto_free char *scope = tn_layout_scope(layout, project);
    char hash[65];

    tn_layout_hash(key, hash);
    return tn_fs_path("%s/%s.json", scope, hash);
}

char *tn_layout_shared(const struct tn_layout *layout, const uint8_t content[32])
{
    char hex[65];

    tn_layout_hex(content, 32, hex);
    return tn_fs_path("%s/blobs/%s.tar.zst", layout->store, hex);
}

char *tn_layout_damaged(const struct tn_layout *layout)
{
    return tn_fs_path("%s/damaged", layout->store);
}

char *tn_layout_project(const struct tn_layout *layout)
{
    return tn_fs_path("%s/project", layout->state);
}
