#include "core/output/blobs.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { PARTIAL_AGE_S = 86400, TASKS_MAX = 65536 };

struct slot {
    const void *owner;
    char *id; /* owned, NULL: free */
    struct tn_zreader *reader;
    uint64_t used;
};

struct tn_blobs {
    const struct tn_layout *layout; /* borrowed */
    struct tn_zpack *zpack;
    struct slot slots[TN_BLOB_READERS];
    uint64_t clock;
};

/* ---- life ---- */

static void sweep_partial(const struct tn_layout *layout)
{
    auto_free char *path = tn_layout_partial_folder(layout, true);
    auto_dir DIR *dir = opendir(path);
    struct dirent *entry;
    time_t before = time(NULL) - PARTIAL_AGE_S;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        struct stat status;

        if (fstatat(dirfd(dir), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(status.st_mode) &&
            status.st_mtime < before && unlinkat(dirfd(dir), entry->d_name, 0) == 0)
            tn_info("removed %s/%s, which nobody finished", path, entry->d_name);
    }
}

struct tn_blobs *tn_blobs_new(const struct tn_layout *layout, struct tn_err *err)
{
    static const char *const folders[] = {"output", "workspaces", "sources", "logs", "artifacts", "test-results"};
    auto_free char *in_state = tn_layout_partial_folder(layout, false);
    auto_free char *in_store = tn_layout_partial_folder(layout, true);
    struct tn_blobs *blobs;

    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        auto_free char *path = tn_fs_path("%s/%s", layout->state, folders[i]);

        if (tn_fs_make_dirs(path, strcmp(folders[i], "output") == 0 ? 0700 : 0755, err) != 0)
            return NULL;
    }
    if (tn_fs_make_dirs(in_state, 0700, err) != 0 || tn_fs_make_dirs(in_store, 0755, err) != 0)
        return NULL;
    sweep_partial(layout);
    blobs = calloc(1, sizeof(*blobs));
    if (blobs == NULL)
        tn_fatal(3, "out of memory: the blob store");
    blobs->layout = layout;
    blobs->zpack = tn_zpack_new();
    return blobs;
}

static void slot_clear(struct slot *slot)
{
    tn_zreader_close(slot->reader);
    free(slot->id);
    memset(slot, 0, sizeof(*slot));
}

void tn_blobs_free(struct tn_blobs *blobs)
{
    if (blobs == NULL)
        return;
    for (size_t i = 0; i < TN_BLOB_READERS; i++)
        slot_clear(&blobs->slots[i]);
    tn_zpack_free(blobs->zpack);
    free(blobs);
}

struct tn_zpack *tn_blobs_zpack(struct tn_blobs *blobs)
{
    return blobs->zpack;
}

bool tn_blobs_has_cache(struct tn_blobs *blobs, const char *project, const char *key)
{
    auto_free char *path = tn_layout_cache(blobs->layout, project, key);

    return access(path, F_OK) == 0;
}

/* ---- committing ---- */

static int sync_folder(const char *path, struct tn_err *err)
{
    auto_free char *folder = tn_fs_path("%.*s", (int)(strrchr(path, '/') - path), path);
    auto_fd int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fsync(fd) != 0)
        return tn_err_sys(err, errno, "cannot sync %s", folder);
    return 0;
}

int tn_blobs_commit(const char *partial, const char *path, bool keep_first, bool *kept, struct tn_err *err)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {0}};
    auto_free char *folder = tn_fs_path("%.*s", (int)(strrchr(path, '/') - path), path);

    *kept = true;
    if (access(partial, F_OK) != 0)
        return access(path, F_OK) == 0 ? 0 : tn_err_sys(err, ENOENT, "cannot commit %s", partial);
    if (tn_fs_make_dirs(folder, 0755, err) != 0)
        return -1;
    if (!keep_first) {
        if (rename(partial, path) != 0)
            return tn_err_sys(err, errno, "cannot commit %s", path);
        return sync_folder(path, err);
    }
    /* "The newest wins" needs more than the file system's clock, which stands still for some milliseconds. */
    if (clock_gettime(CLOCK_REALTIME, &times[1]) == 0 && utimensat(AT_FDCWD, partial, times, 0) != 0)
        tn_debug("cannot set the time of %s", partial);
    if (link(partial, path) != 0) {
        if (errno != EEXIST)
            return tn_err_sys(err, errno, "cannot commit %s", path);
        *kept = false;
    }
    if (unlink(partial) != 0)
        tn_warn("cannot remove %s: %s", partial, strerror(errno));
    return sync_folder(path, err);
}

/* ---- finding ---- */

char *tn_blobs_label(const char *key, const char *base)
{
    return tn_fs_path("%s\n%s", base, key);
}

static const char *key_of(const char *label)
{
    const char *end = strchrnul(label, '\n');

    return *end != '\0' ? end + 1 : end;
}

/* `label` as tn_blobs_label() made it, or NULL. */
static int add_found(cJSON *found, const char *id, const char *label, const char *path, struct tn_err *err)
{
    struct tn_zreader *reader = tn_zreader_open(path, err);
    struct stat status;
    cJSON *item;

    if (reader == NULL || stat(path, &status) != 0) {
        tn_zreader_close(reader);
        return -1;
    }
    item = cJSON_CreateObject();
    cJSON_AddStringToObject(item, "id", id);
    if (label != NULL) {
        auto_free char *base = tn_fs_path("%.*s", (int)(strchrnul(label, '\n') - label), label);

        cJSON_AddStringToObject(item, "key", key_of(label));
        cJSON_AddStringToObject(item, "base", base);
    }
    tn_json_add_u64(item, "size", tn_zreader_size(reader));
    tn_json_add_u64(item, "created",
                    (uint64_t)status.st_mtim.tv_sec * 1000u + (uint64_t)status.st_mtim.tv_nsec / 1000000u);
    cJSON_AddItemToArray(found, item);
    tn_zreader_close(reader);
    return 0;
}

static bool newer(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

/* The newest cache whose key begins with `prefix`: its file name and label, or NULL. */
static char *newest_cache(const char *scope, const char *prefix, struct tn_buf *found)
{
    auto_dir DIR *dir = opendir(scope);
    auto_buf struct tn_buf label = TN_BUF_INIT;
    struct timespec best = {0, 0};
    struct dirent *entry;
    char *name = NULL;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        auto_free char *path = tn_fs_path("%s/%s", scope, entry->d_name);
        struct stat status;

        if (entry->d_name[0] == '.' || stat(path, &status) != 0 || (name != NULL && !newer(&status.st_mtim, &best)) ||
            tn_zfile_label(path, &label, NULL) != 0 || strncmp(key_of(label.data), prefix, strlen(prefix)) != 0)
            continue;
        best = status.st_mtim;
        free(name);
        name = tn_fs_path("%s", entry->d_name);
        tn_buf_reset(found);
        tn_buf_add(found, label.data, label.len);
    }
    return name;
}

static int find_cache(struct tn_blobs *blobs, const char *project, const cJSON *keys, cJSON *found, struct tn_err *err)
{
    auto_free char *scope = tn_layout_scope(blobs->layout, project);
    const cJSON *prefix;

    cJSON_ArrayForEach (prefix, keys) {
        auto_buf struct tn_buf label = TN_BUF_INIT;
        auto_free char *name = NULL;

        if (!cJSON_IsString(prefix) || strlen(prefix->valuestring) > TN_CACHE_KEY_MAX)
            return tn_err_set(err, TN_ERR_USAGE, "a cache key must be a text of at most %d bytes", TN_CACHE_KEY_MAX);
        name = newest_cache(scope, prefix->valuestring, &label);
        if (name != NULL) {
            auto_free char *path = tn_fs_path("%s/%s", scope, name);
            auto_free char *id = tn_fs_path("cache%s/%s", strrchr(scope, '/'), name);

            return add_found(found, id, label.data, path, err);
        }
    }
    return 0;
}

struct layer {
    uint64_t task;
    uint32_t attempt;
    unsigned step;
};

static int by_attempt_and_step(const void *a, const void *b)
{
    const struct layer *left = a;
    const struct layer *right = b;

    if (left->task != right->task)
        return left->task < right->task ? -1 : 1;
    if (left->attempt != right->attempt)
        return left->attempt > right->attempt ? -1 : 1; /* the latest first */
    return left->step < right->step ? -1 : left->step > right->step;
}

static void read_layers(const struct tn_layout *layout, struct tn_buf *layers)
{
    auto_free char *path = tn_fs_path("%s/workspaces", layout->state);
    auto_dir DIR *dir = opendir(path);
    struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        struct layer layer = {0};
        int end = 0;

        if (sscanf(entry->d_name, "%" SCNu64 ".%" SCNu32 ".%u.tar.zst%n", &layer.task, &layer.attempt, &layer.step,
                   &end) == 3 &&
            end > 0 && entry->d_name[end] == '\0')
            tn_buf_add(layers, &layer, sizeof(layer));
    }
    if (layers->len > 0)
        qsort(layers->data, layers->len / sizeof(struct layer), sizeof(struct layer), by_attempt_and_step);
}

/* The layers of the task's latest attempt that has any, in the order of its steps. */
static int add_layers(struct tn_blobs *blobs, const struct tn_buf *layers, uint64_t task, cJSON *found,
                      struct tn_err *err)
{
    const struct layer *layer = (const struct layer *)(const void *)layers->data;
    const struct layer *end = layers->len > 0 ? layer + layers->len / sizeof(*layer) : layer;
    uint32_t attempt = 0;

    for (; layer < end && layer->task <= task; layer++) {
        auto_free char *path = NULL;
        auto_free char *id = NULL;

        if (layer->task != task || (attempt != 0 && layer->attempt != attempt))
            continue;
        attempt = layer->attempt;
        path = tn_layout_workspace(blobs->layout, task, attempt, layer->step);
        id = tn_fs_path("workspace%s", strrchr(path, '/'));
        if (add_found(found, id, NULL, path, err) != 0)
            return -1;
    }
    return 0;
}

static int find_workspace(struct tn_blobs *blobs, const cJSON *tasks, cJSON *found, struct tn_err *err)
{
    auto_buf struct tn_buf layers = TN_BUF_INIT;
    const cJSON *item;

    if (cJSON_GetArraySize(tasks) > TASKS_MAX)
        return tn_err_set(err, TN_ERR_LIMIT, "a workspace of more than %d tasks", TASKS_MAX);
    read_layers(blobs->layout, &layers);
    cJSON_ArrayForEach (item, tasks) {
        uint64_t task = cJSON_IsString(item) ? strtoull(item->valuestring, NULL, 10) : (uint64_t)item->valuedouble;

        if (add_layers(blobs, &layers, task, found, err) != 0)
            return -1;
    }
    return 0;
}

static int find_source(struct tn_blobs *blobs, const char *pipeline, cJSON *found, struct tn_err *err)
{
    auto_free char *path = tn_layout_source(blobs->layout, pipeline);
    auto_free char *id = tn_fs_path("source%s", strrchr(path, '/'));

    return access(path, F_OK) == 0 ? add_found(found, id, NULL, path, err) : 0;
}

int tn_blobs_find(struct tn_blobs *blobs, const char *project, const cJSON *wanted, cJSON *found, struct tn_err *err)
{
    const char *type = tn_json_string(wanted, "type", "");
    const char *pipeline = tn_json_string(wanted, "pipeline", NULL);

    if (strcmp(type, "cache") == 0)
        return find_cache(blobs, project, tn_json_get(wanted, "keys"), found, err);
    if (strcmp(type, "workspace") == 0)
        return find_workspace(blobs, tn_json_get(wanted, "tasks"), found, err);
    if (strcmp(type, "source") == 0 && pipeline != NULL)
        return find_source(blobs, pipeline, found, err);
    return tn_err_set(err, TN_ERR_USAGE,
                      "BLOB_FIND: type \"%s\", expected cache with keys, workspace with tasks or "
                      "source with a pipeline",
                      type);
}

/* ---- reading ---- */

/* An id is "<kind>/<name>" or "cache/<scope>/<name>" with names as we gave them: nothing in it leads elsewhere. */
static char *id_path(const struct tn_blobs *blobs, const char *id)
{
    static const struct {
        const char *prefix;
        const char *folder;
        unsigned slashes;
        bool in_store;
    } kinds[] = {{"cache/scope-", "caches/scope-", 1, true},
                 {"workspace/", "workspaces/", 0, false},
                 {"source/", "sources/", 0, false}};

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        size_t length = strlen(kinds[i].prefix);
        const char *name = id + length;
        unsigned slashes = 0;

        if (strncmp(id, kinds[i].prefix, length) != 0)
            continue;
        for (const char *at = name; *at != '\0'; at++)
            slashes += *at == '/';
        if (slashes != kinds[i].slashes || *name == '.' || strstr(name, "/.") != NULL || strlen(name) > 400)
            return NULL;
        return tn_fs_path("%s/%s%s", kinds[i].in_store ? blobs->layout->store : blobs->layout->state, kinds[i].folder,
                          name);
    }
    return NULL;
}

static struct slot *take_slot(struct tn_blobs *blobs, const void *owner, const char *id, struct tn_err *err)
{
    struct slot *oldest = &blobs->slots[0];
    struct tn_zreader *reader;
    auto_free char *path = NULL;

    for (size_t i = 0; i < TN_BLOB_READERS; i++) {
        struct slot *slot = &blobs->slots[i];

        if (slot->id != NULL && slot->owner == owner && strcmp(slot->id, id) == 0)
            return slot;
        if (slot->used < oldest->used)
            oldest = slot;
    }
    path = id_path(blobs, id);
    if (path == NULL) {
        tn_err_set(err, TN_ERR_USAGE, "BLOB_READ: \"%.100s\" is no id of a blob", id);
        return NULL;
    }
    reader = tn_zreader_open(path, err);
    if (reader == NULL)
        return NULL;
    slot_clear(oldest);
    *oldest = (struct slot){owner, tn_fs_path("%s", id), reader, 0};
    return oldest;
}

int tn_blobs_read(struct tn_blobs *blobs, const void *owner, const char *id, uint64_t offset, size_t length,
                  struct tn_buf *out, bool *end, struct tn_err *err)
{
    struct slot *slot = take_slot(blobs, owner, id, err);
    size_t before = out->len;

    if (slot == NULL)
        return -1;
    slot->used = ++blobs->clock;
    if (tn_zreader_read(slot->reader, offset, length, out, err) != 0)
        return -1;
    *end = offset + (out->len - before) >= tn_zreader_size(slot->reader);
    if (*end)
        slot_clear(slot);
    return 0;
}

void tn_blobs_forget(struct tn_blobs *blobs, const void *owner)
{
    for (size_t i = 0; i < TN_BLOB_READERS; i++)
        if (blobs->slots[i].owner == owner)
            slot_clear(&blobs->slots[i]);
}
