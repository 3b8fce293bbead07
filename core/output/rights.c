#include "core/output/rights.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int by_number(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a;
    const uint64_t right = *(const uint64_t *)b;

    return left < right ? -1 : left > right;
}

static void read_upstream(struct tn_rights *rights)
{
    const cJSON *list = tn_json_get(rights->claims, "upstream");
    const cJSON *item;

    rights->upstream = calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof(*rights->upstream));
    if (rights->upstream == NULL)
        tn_fatal(3, "out of memory: the upstream tasks of an attempt");
    cJSON_ArrayForEach (item, list)
        rights->upstream[rights->upstream_count++] = tn_json_item_u64(item, 0);
    qsort(rights->upstream, rights->upstream_count, sizeof(*rights->upstream), by_number);
}

struct tn_rights *tn_rights_open(const uint8_t key[TN_GRANT_KEY], const char *grant, uint64_t task, uint32_t attempt,
                                 uint16_t executor, struct tn_err *err)
{
    auto_json cJSON *claims = tn_grant_open(key, grant, err);
    struct tn_rights *rights;

    if (claims == NULL)
        return NULL;
    if (tn_json_u64(claims, "task", 0) != task || tn_json_u64(claims, "attempt", 0) != attempt ||
        tn_json_u64(claims, "executor", 0) != executor) {
        tn_err_set(err, TN_ERR_CONFLICT,
                   "the grant is for task %" PRIu64 ", attempt %" PRIu64 ", executor 0x%04" PRIx64
                   "; this is about task %" PRIu64 ", attempt %" PRIu32 " from 0x%04x",
                   tn_json_u64(claims, "task", 0), tn_json_u64(claims, "attempt", 0),
                   tn_json_u64(claims, "executor", 0), task, attempt, (unsigned)executor);
        return NULL;
    }
    rights = calloc(1, sizeof(*rights));
    if (rights == NULL)
        tn_fatal(3, "out of memory: the rights of an attempt");
    rights->claims = steal_ptr(&claims);
    read_upstream(rights);
    return rights;
}

void tn_rights_free(struct tn_rights *rights)
{
    if (rights == NULL)
        return;
    cJSON_Delete(rights->claims);
    free(rights->upstream);
    free(rights);
}

static bool is_upstream(const struct tn_rights *rights, uint64_t task)
{
    return task != 0 && rights->upstream_count > 0 &&
           bsearch(&task, rights->upstream, rights->upstream_count, sizeof(task), by_number) != NULL;
}

static int not_granted(struct tn_err *err, const char *what)
{
    return tn_err_set(err, TN_ERR_CONFLICT, "%.200s is nothing that the attempt's lease entitles to", what);
}

int tn_rights_find(const struct tn_rights *rights, const cJSON *wanted, struct tn_err *err)
{
    const char *type = tn_json_string(wanted, "type", "");
    const char *pipeline = tn_json_string(wanted, "pipeline", "");
    const cJSON *item;

    if (strcmp(type, "source") == 0 && strcmp(pipeline, tn_json_string(rights->claims, "pipeline", "")) != 0) {
        auto_free char *what = tn_fs_path("the source of pipeline %s", pipeline);

        return not_granted(err, what);
    }
    if (strcmp(type, "workspace") != 0)
        return 0;
    cJSON_ArrayForEach (item, tn_json_get(wanted, "tasks")) {
        if (!is_upstream(rights, tn_json_item_u64(item, 0))) {
            auto_free char *what = tn_fs_path("the workspace of task %" PRIu64, tn_json_item_u64(item, 0));

            return not_granted(err, what);
        }
    }
    return 0;
}

static bool begins(const char *text, const char *kind, const char *path, const char *end)
{
    auto_free char *prefix = tn_fs_path("%s%s%s", kind, strrchr(path, '/'), end);

    return strncmp(text, prefix, strlen(prefix)) == 0;
}

int tn_rights_read(const struct tn_rights *rights, const struct tn_layout *layout, const char *id, struct tn_err *err)
{
    auto_free char *scope = tn_layout_scope(layout, tn_json_string(rights->claims, "project", "default"));
    auto_free char *source = tn_layout_source(layout, tn_json_string(rights->claims, "pipeline", ""));
    auto_free char *what = NULL;

    if (begins(id, "cache", scope, "/") ||
        (begins(id, "source", source, "") && strlen(id) == strlen("source") + strlen(strrchr(source, '/'))) ||
        (strncmp(id, "workspace/", 10) == 0 && is_upstream(rights, strtoull(id + 10, NULL, 10))))
        return 0;
    what = tn_fs_path("the blob \"%s\"", id);
    return not_granted(err, what);
}
