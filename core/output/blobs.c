#include "core/output/blobs.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"
#include "core/output/layers.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

enum { TASKS_MAX = 65536, LAYERS_MAX = 8192, KNOWN_MAX = 1024 };

struct slot {
    const void *owner;
    char *id; /* owned, NULL: free */
    struct tn_zreader *reader;
    uint64_t used;
};

/* A file that was read through and found whole, as stat(2) told it: it need not be read again while it is that. */
struct known {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
};

struct tn_blobs {
    const struct tn_layout *layout; /* borrowed */
    struct tn_zpack *zpack;
    struct slot slots[TN_BLOB_READERS];
    uint64_t clock;
    pthread_mutex_t lock; /* over what follows: finding runs in threads */
    struct known known[KNOWN_MAX];
    size_t next_known;
};

/* ---- life ---- */

struct tn_blobs *tn_blobs_new(const struct tn_layout *layout, struct tn_err *err)
{
    static const char *const folders[] = {"output", "workspaces", "sources", "logs", "artifacts", "test-results"};
    auto_free char *in_state = tn_layout_partial_folder(layout, false);
    auto_free char *in_store = tn_layout_partial_folder(layout, true);
    auto_free char *shared = tn_fs_path("%s/blobs", layout->store);
    struct tn_blobs *blobs;

    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        auto_free char *path = tn_fs_path("%s/%s", layout->state, folders[i]);

        if (tn_fs_make_dirs(path, strcmp(folders[i], "output") == 0 ? 0700 : 0755, err) != 0)
            return NULL;
    }
    if (tn_fs_make_dirs(in_state, 0700, err) != 0 || tn_fs_make_dirs(in_store, 0755, err) != 0 ||
        tn_fs_make_dirs(shared, 0755, err) != 0)
        return NULL;
    blobs = calloc(1, sizeof(*blobs));
    if (blobs == NULL)
        tn_fatal(3, "out of memory: the blob store");
    pthread_mutex_init(&blobs->lock, NULL);
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
    pthread_mutex_destroy(&blobs->lock);
    free(blobs);
}

struct tn_zpack *tn_blobs_zpack(struct tn_blobs *blobs)
{
    return blobs->zpack;
}

/* ---- verifying ---- */

static struct known known_as(const struct stat *status)
{
    return (struct known){status->st_dev, status->st_ino, status->st_size, status->st_ctim};
}

static bool is_known(struct tn_blobs *blobs, const struct known *wanted)
{
    bool found = false;

    pthread_mutex_lock(&blobs->lock);
    for (size_t i = 0; i < KNOWN_MAX && !found; i++) {
        const struct known *known = &blobs->known[i];

        found = known->inode == wanted->inode && known->device == wanted->device && known->size == wanted->size &&
                known->changed.tv_sec == wanted->changed.tv_sec && known->changed.tv_nsec == wanted->changed.tv_nsec;
    }
    pthread_mutex_unlock(&blobs->lock);
    return found;
}

static void note_known(struct tn_blobs *blobs, const struct known *known)
{
    pthread_mutex_lock(&blobs->lock);
    blobs->known[blobs->next_known] = *known;
    blobs->next_known = (blobs->next_known + 1) % KNOWN_MAX;
    pthread_mutex_unlock(&blobs->lock);
}

int tn_blobs_verify(struct tn_blobs *blobs, const char *path, uint64_t *size, struct tn_err *err)
{
    struct tn_zreader *reader;
    struct known known;
    struct stat status;
    int failed = 0;

    if (stat(path, &status) != 0)
        return tn_err_sys(err, errno, "cannot read %s", path);
    known = known_as(&status);
    reader = tn_zreader_open(path, err);
    if (reader == NULL)
        return -1;
    *size = tn_zreader_size(reader);
    if (!is_known(blobs, &known)) {
        failed = tn_zreader_verify(reader, err);
        if (failed == 0)
            note_known(blobs, &known);
    }
    tn_zreader_close(reader);
    return failed;
}

/* ---- committing ---- */

int tn_blobs_commit(const char *partial, const char *path, struct tn_err *err)
{
    auto_free char *folder = tn_fs_path("%.*s", (int)(strrchr(path, '/') - path), path);

    if (access(partial, F_OK) != 0)
        return access(path, F_OK) == 0 ? 0 : tn_err_sys(err, ENOENT, "cannot commit %s", partial);
    if (tn_fs_make_dirs(folder, 0755, err) != 0)
        return -1;
    if (rename(partial, path) != 0)
        return tn_err_sys(err, errno, "cannot commit %s", path);
    return tn_cache_sync_folder(path, err);
}

char *tn_blobs_twin(struct tn_blobs *blobs, const char *partial, char **shared)
{
    struct tn_zreader *reader = tn_zreader_open(partial, NULL);
    struct tn_err err = TN_ERR_INIT;
    uint64_t size;

    *shared = NULL;
    if (reader == NULL)
        return NULL;
    if (tn_zreader_content(reader) != NULL)
        *shared = tn_layout_shared(blobs->layout, tn_zreader_content(reader));
    tn_zreader_close(reader);
    if (*shared == NULL || access(*shared, F_OK) != 0)
        return NULL;
    if (tn_blobs_verify(blobs, *shared, &size, &err) == 0)
        return tn_fs_path("%s", *shared);
    tn_warn("%s; it is not used any more", err.text);
    if (unlink(*shared) != 0 && errno != ENOENT)
        tn_warn("cannot remove %s: %s", *shared, strerror(errno));
    return NULL;
}

void tn_blobs_share(const char *partial, const char *twin, const char *shared)
{
    auto_free char *aside = tn_fs_path("%s.twin", partial);

    if (twin == NULL && shared != NULL && link(partial, shared) != 0 && errno != EEXIST)
        tn_debug("%s is not shared: %s", partial, strerror(errno));
    if (twin == NULL)
        return;
    unlink(aside);
    if (link(twin, aside) != 0 || rename(aside, partial) != 0)
        tn_debug("%s is stored twice: %s", partial, strerror(errno));
    unlink(aside); /* rename(2) of two names of one file leaves both */
}

/* ---- finding ---- */

static cJSON *add_found(cJSON *answer, const char *id, uint64_t size, uint64_t created_ms)
{
    cJSON *item = cJSON_CreateObject();

    cJSON_AddStringToObject(item, "id", id);
    tn_json_add_u64(item, "size", size);
    tn_json_add_u64(item, "created", created_ms);
    cJSON_AddItemToArray(cJSON_GetObjectItemCaseSensitive(answer, "blobs"), item);
    return item;
}

static uint64_t changed_ms(const char *path)
{
    struct stat status;

    if (stat(path, &status) != 0)
        return 0;
    return (uint64_t)status.st_mtim.tv_sec * 1000u + (uint64_t)status.st_mtim.tv_nsec / 1000000u;
}

static void add_warning(cJSON *answer, const struct tn_cache *cache, const struct tn_err *err)
{
    auto_free char *text = tn_fs_path("The cache for key %s is damaged and was set aside: %s", cache->key, err->text);
    cJSON *warnings = cJSON_GetObjectItemCaseSensitive(answer, "warnings");

    if (warnings == NULL)
        warnings = cJSON_AddArrayToObject(answer, "warnings");
    cJSON_AddItemToArray(warnings, cJSON_CreateString(text));
}

/* The newest whole cache whose key begins with the prefix; what is damaged is set aside on the way. */
static bool find_whole(struct tn_blobs *blobs, const char *scope, const char *prefix, cJSON *answer)
{
    auto_json cJSON *damaged = cJSON_CreateArray();
    bool found = false;

    while (!found) {
        struct tn_err err = TN_ERR_INIT;
        struct tn_cache cache;
        uint64_t size = 0;

        if (!tn_cache_newest(scope, prefix, damaged, &cache))
            return false;
        {
            auto_free char *path = tn_fs_path("%s/%s", scope, cache.file);

            found = tn_blobs_verify(blobs, path, &size, &err) == 0;
        }
        if (found) {
            auto_free char *id = tn_fs_path("cache%s/%s", strrchr(scope, '/'), cache.file);
            cJSON *item = add_found(answer, id, size, cache.created / 1000000u);

            cJSON_AddStringToObject(item, "key", cache.key);
            cJSON_AddStringToObject(item, "base", cache.base);
        } else {
            add_warning(answer, &cache, &err);
            cJSON_AddItemToArray(damaged, cJSON_CreateString(cache.entry));
            tn_cache_set_aside(blobs->layout, scope, &cache);
        }
        tn_cache_clear(&cache);
    }
    return true;
}

static int find_cache(struct tn_blobs *blobs, const char *project, const cJSON *keys, cJSON *answer, struct tn_err *err)
{
    auto_free char *scope = tn_layout_scope(blobs->layout, project);
    const cJSON *prefix;

    cJSON_ArrayForEach (prefix, keys) {
        if (!cJSON_IsString(prefix) || strlen(prefix->valuestring) > TN_CACHE_KEY_MAX)
            return tn_err_set(err, TN_ERR_USAGE, "a cache key must be a text of at most %d bytes", TN_CACHE_KEY_MAX);
        if (find_whole(blobs, scope, prefix->valuestring, answer))
            return 0;
    }
    return 0;
}

static int by_attempt_and_step(const void *a, const void *b)
{
    const struct tn_layer *left = a;
    const struct tn_layer *right = b;

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
        struct tn_layer layer = {0};
        int end = 0;

        if (sscanf(entry->d_name, "%" SCNu64 ".%" SCNu32 ".%u.tar.zst%n", &layer.task, &layer.attempt, &layer.step,
                   &end) == 3 &&
            end > 0 && entry->d_name[end] == '\0')
            tn_buf_add(layers, &layer, sizeof(layer));
    }
    if (layers->len > 0)
        qsort(layers->data, layers->len / sizeof(struct tn_layer), sizeof(struct tn_layer), by_attempt_and_step);
}

/* The layers of the task's latest attempt that has any, in the order of its steps. */
static int take_layers(struct tn_blobs *blobs, const struct tn_buf *all, const struct tn_layer_jobs *jobs,
                       uint64_t task, struct tn_buf *taken, struct tn_err *err)
{
    const struct tn_layer *layer = (const struct tn_layer *)(const void *)all->data;
    const struct tn_layer *end = all->len > 0 ? layer + all->len / sizeof(*layer) : layer;
    uint32_t attempt = 0;

    for (; layer < end && layer->task <= task; layer++) {
        struct tn_layer copy = *layer;

        if (layer->task != task || (attempt != 0 && layer->attempt != attempt))
            continue;
        if (taken->len / sizeof(copy) >= LAYERS_MAX)
            return tn_err_set(err, TN_ERR_LIMIT, "a workspace of more than %d layers", LAYERS_MAX);
        attempt = layer->attempt;
        copy.path = tn_layout_workspace(blobs->layout, task, attempt, layer->step);
        copy.job = tn_layer_jobs_find(jobs, task);
        tn_buf_add(taken, &copy, sizeof(copy));
    }
    return 0;
}

static int verify_layers(struct tn_blobs *blobs, const struct tn_layer_jobs *jobs, const struct tn_layer *layers,
                         size_t count, cJSON *answer, struct tn_err *err)
{
    for (size_t i = 0; i < count; i++) {
        auto_free char *id = tn_fs_path("workspace%s", strrchr(layers[i].path, '/'));
        struct tn_err own = TN_ERR_INIT;
        uint64_t size = 0;
        cJSON *item;

        if (tn_blobs_verify(blobs, layers[i].path, &size, &own) != 0)
            return tn_err_set(err, TN_ERR_PROTOCOL, "the layer of job %s is damaged, so that job must run again: %s",
                              tn_layer_jobs_name(jobs, layers[i].job), own.text);
        item = add_found(answer, id, size, changed_ms(layers[i].path));
        cJSON_AddStringToObject(item, "job", tn_layer_jobs_name(jobs, layers[i].job));
    }
    return 0;
}

static int attach(struct tn_blobs *blobs, const struct tn_layer_jobs *jobs, const struct tn_buf *taken, cJSON *answer,
                  struct tn_err *err)
{
    const struct tn_layer *layers = (const struct tn_layer *)(const void *)taken->data;
    size_t count = taken->len / sizeof(*layers);
    auto_json cJSON *conflicts = cJSON_CreateArray();
    size_t total = 0;

    if (count == 0)
        return 0;
    if (verify_layers(blobs, jobs, layers, count, answer, err) != 0 ||
        tn_layers_conflicts(jobs, layers, count, conflicts, &total, err) != 0)
        return -1;
    if (total > 0) {
        cJSON_AddItemToObject(answer, "conflicts", steal_ptr(&conflicts));
        cJSON_AddNumberToObject(answer, "conflicting", (double)total);
    }
    return 0;
}

static int find_workspace(struct tn_blobs *blobs, const cJSON *wanted, cJSON *answer, struct tn_err *err)
{
    const cJSON *tasks = tn_json_get(wanted, "tasks");
    auto_buf struct tn_buf all = TN_BUF_INIT;
    auto_buf struct tn_buf taken = TN_BUF_INIT;
    struct tn_layer_jobs *jobs;
    const cJSON *item;
    int failed = 0;

    if (cJSON_GetArraySize(tasks) > TASKS_MAX)
        return tn_err_set(err, TN_ERR_LIMIT, "a workspace of more than %d tasks", TASKS_MAX);
    jobs = tn_layer_jobs_new(tn_json_get(wanted, "jobs"), err);
    if (jobs == NULL)
        return -1;
    read_layers(blobs->layout, &all);
    cJSON_ArrayForEach (item, tasks) {
        uint64_t task = tn_json_item_u64(item, 0);

        if (failed == 0)
            failed = take_layers(blobs, &all, jobs, task, &taken, err);
    }
    if (failed == 0)
        failed = attach(blobs, jobs, &taken, answer, err);
    for (size_t i = 0; i < taken.len / sizeof(struct tn_layer); i++)
        free(((struct tn_layer *)(void *)taken.data)[i].path);
    tn_layer_jobs_free(jobs);
    return failed;
}

static int find_source(struct tn_blobs *blobs, const char *pipeline, cJSON *answer, struct tn_err *err)
{
    auto_free char *path = tn_layout_source(blobs->layout, pipeline);
    auto_free char *id = tn_fs_path("source%s", strrchr(path, '/'));
    struct tn_err own = TN_ERR_INIT;
    uint64_t size = 0;

    if (access(path, F_OK) != 0)
        return 0;
    if (tn_blobs_verify(blobs, path, &size, &own) != 0)
        return tn_err_set(err, TN_ERR_PROTOCOL,
                          "the stored working tree is damaged, so the pipeline must be started again: %s", own.text);
    add_found(answer, id, size, changed_ms(path));
    return 0;
}

int tn_blobs_find(struct tn_blobs *blobs, const char *project, const cJSON *wanted, cJSON *answer, struct tn_err *err)
{
    const char *type = tn_json_string(wanted, "type", "");
    const char *pipeline = tn_json_string(wanted, "pipeline", NULL);

    cJSON_AddArrayToObject(answer, "blobs");
    if (strcmp(type, "cache") == 0)
        return find_cache(blobs, project, tn_json_get(wanted, "keys"), answer, err);
    if (strcmp(type, "workspace") == 0)
        return find_workspace(blobs, wanted, answer, err);
    if (strcmp(type, "source") == 0 && pipeline != NULL)
        return find_source(blobs, pipeline, answer, err);
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
