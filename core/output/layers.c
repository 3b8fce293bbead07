#include "core/output/layers.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"
#include "core/output/untar.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/auxv.h>

enum { DIGEST = 32, HEAD = 4 + DIGEST, JOBS_MAX = 8192, ENTRIES_MAX = 4000000 };
static const char list_magic[4] = "TNL1";

/* ---- what is in a layer ---- */

struct source {
    struct tn_zreader *reader; /* borrowed */
    uint64_t offset;
    struct tn_err *err;
};

static la_ssize_t read_bytes(struct archive *archive, void *arg, const void **bytes)
{
    struct source *source = arg;
    size_t length;

    if (tn_zreader_peek(source->reader, source->offset, bytes, &length, source->err) != 0) {
        archive_set_error(archive, EIO, "%s", source->err->text);
        return -1;
    }
    source->offset += length;
    return (la_ssize_t)length;
}

/* Contents are passed over: frames that hold nothing else are never decoded. */
static la_int64_t skip_bytes(struct archive *archive, void *arg, la_int64_t count)
{
    struct source *source = arg;
    uint64_t left = tn_zreader_size(source->reader) - source->offset;
    uint64_t skipped = count > 0 && (uint64_t)count < left ? (uint64_t)count : left;

    source->offset += skipped;
    return (la_int64_t)skipped;
}

static int take_paths(struct archive *archive, const struct source *source, struct tn_buf *paths)
{
    size_t entries = 0;

    for (;;) {
        auto_free char *clean = NULL;
        struct archive_entry *entry;
        int got = archive_read_next_header(archive, &entry);

        if (got == ARCHIVE_EOF)
            return 0;
        if (got < ARCHIVE_WARN)
            return source->err->code != TN_OK
                       ? -1
                       : tn_err_set(source->err, TN_ERR_PROTOCOL, "the layer's tar is damaged: %s",
                                    archive_error_string(archive));
        if (archive_entry_pathname(entry) == NULL || archive_entry_filetype(entry) == AE_IFDIR)
            continue;
        clean = tn_untar_clean(archive_entry_pathname(entry));
        if (clean == NULL || *clean == '\0')
            continue;
        if (++entries > ENTRIES_MAX || paths->len + strlen(clean) >= TN_LAYER_LIST_MAX)
            return tn_err_set(source->err, TN_ERR_LIMIT, "the layer has more than %d files or %d bytes of their names",
                              ENTRIES_MAX, TN_LAYER_LIST_MAX);
        tn_buf_add(paths, clean, strlen(clean) + 1);
    }
}

int tn_layer_paths(struct tn_zreader *reader, struct tn_buf *paths, struct tn_err *err)
{
    struct tn_err own = TN_ERR_INIT;
    struct source source = {reader, 0, err != NULL ? err : &own};
    struct archive *archive = archive_read_new();
    int failed;

    if (archive == NULL)
        tn_fatal(3, "out of memory: a tar reader");
    archive_read_support_format_tar(archive);
    archive_read_support_format_empty(archive);
    archive_read_set_callback_data(archive, &source);
    archive_read_set_read_callback(archive, read_bytes);
    archive_read_set_skip_callback(archive, skip_bytes);
    failed = archive_read_open1(archive) == ARCHIVE_OK
                 ? take_paths(archive, &source, paths)
                 : tn_err_set(source.err, TN_ERR_PROTOCOL, "the layer is no tar: %s", archive_error_string(archive));
    archive_read_free(archive);
    return failed;
}

/* ---- its list ---- */

static void digest_of(const void *bytes, size_t length, uint8_t out[DIGEST])
{
    if (EVP_Digest(bytes != NULL ? bytes : "", length, out, NULL, EVP_sha256(), NULL) != 1)
        tn_fatal(3, "SHA-256 failed");
}

void tn_layer_list_encode(const struct tn_buf *paths, struct tn_buf *list)
{
    uint8_t digest[DIGEST];

    digest_of(paths->data, paths->len, digest);
    tn_buf_add(list, list_magic, sizeof(list_magic));
    tn_buf_add(list, digest, sizeof(digest));
    if (paths->len > 0)
        tn_buf_add(list, paths->data, paths->len);
}

int tn_layer_list_decode(const void *bytes, size_t length, struct tn_buf *paths)
{
    const char *at = bytes;
    uint8_t digest[DIGEST];

    if (length < HEAD || memcmp(at, list_magic, sizeof(list_magic)) != 0 || (length > HEAD && at[length - 1] != '\0'))
        return -1;
    digest_of(at + HEAD, length - HEAD, digest);
    if (memcmp(digest, at + sizeof(list_magic), DIGEST) != 0)
        return -1;
    if (length > HEAD)
        tn_buf_add(paths, at + HEAD, length - HEAD);
    return 0;
}

char *tn_layer_list_path(const char *layer)
{
    size_t length = strlen(layer);
    size_t end = strlen(".tar.zst");

    return tn_fs_path("%.*s.files", (int)(length > end ? length - end : length), layer);
}

int tn_layer_list_write(const char *partial, const char *layer, struct tn_err *err)
{
    auto_free char *path = tn_layer_list_path(layer);
    auto_buf struct tn_buf paths = TN_BUF_INIT;
    auto_buf struct tn_buf list = TN_BUF_INIT;
    struct tn_zreader *reader = tn_zreader_open(partial, err);
    int failed;

    if (reader == NULL)
        return -1;
    failed = tn_layer_paths(reader, &paths, err);
    tn_zreader_close(reader);
    if (failed != 0)
        return -1;
    tn_layer_list_encode(&paths, &list);
    return tn_fs_write_atomic(path, list.data, list.len, 0600, err);
}

int tn_layer_list_read(const char *layer, struct tn_buf *paths, struct tn_err *err)
{
    auto_free char *path = tn_layer_list_path(layer);
    auto_buf struct tn_buf list = TN_BUF_INIT;
    struct tn_zreader *reader;
    int failed;

    if (tn_fs_read(path, TN_LAYER_LIST_MAX + (size_t)HEAD, &list, NULL) == 0 &&
        tn_layer_list_decode(list.data, list.len, paths) == 0)
        return 0;
    reader = tn_zreader_open(layer, err);
    if (reader == NULL)
        return -1;
    failed = tn_layer_paths(reader, paths, err);
    tn_zreader_close(reader);
    return failed;
}

/* ---- jobs ---- */

struct tn_layer_jobs {
    const cJSON *list; /* borrowed */
    int count;
    size_t words;
    uint64_t *upstream; /* owned; a row of bits a job: those that ended before it began */
    struct owner {
        uint64_t task;
        int job;
    } * owners; /* owned; sorted by task */
    size_t owner_count;
};

static bool is_upstream(const struct tn_layer_jobs *jobs, int of, int job)
{
    return (jobs->upstream[(size_t)of * jobs->words + (size_t)job / 64] >> (job % 64) & 1) != 0;
}

static int by_task(const void *a, const void *b)
{
    const struct owner *left = a;
    const struct owner *right = b;

    return left->task < right->task ? -1 : left->task > right->task;
}

static int read_requires(struct tn_layer_jobs *jobs, const cJSON *job, int at, struct tn_err *err)
{
    uint64_t *row = jobs->upstream + (size_t)at * jobs->words;
    const cJSON *item;

    cJSON_ArrayForEach (item, tn_json_get(job, "requires")) {
        int other = cJSON_IsNumber(item) ? item->valueint : -1;

        if (other < 0 || other >= at)
            return tn_err_set(err, TN_ERR_USAGE, "BLOB_FIND: job %d requires job %d, expected one before it", at,
                              other);
        for (size_t w = 0; w < jobs->words; w++)
            row[w] |= jobs->upstream[(size_t)other * jobs->words + w];
        row[other / 64] |= 1ull << (other % 64);
    }
    return 0;
}

static void read_tasks(struct tn_layer_jobs *jobs, const cJSON *job, int at)
{
    const cJSON *item;

    cJSON_ArrayForEach (item, tn_json_get(job, "tasks"))
        jobs->owners[jobs->owner_count++] = (struct owner){tn_json_item_u64(item, 0), at};
}

struct tn_layer_jobs *tn_layer_jobs_new(const cJSON *list, struct tn_err *err)
{
    struct tn_layer_jobs *jobs = calloc(1, sizeof(*jobs));
    const cJSON *job;
    size_t tasks = 0;
    int at = 0;
    int failed = 0;

    if (jobs == NULL)
        tn_fatal(3, "out of memory: jobs of a workspace");
    jobs->list = list;
    jobs->count = cJSON_GetArraySize(list);
    if (jobs->count > JOBS_MAX) {
        tn_err_set(err, TN_ERR_LIMIT, "BLOB_FIND: %d jobs, at most %d are allowed", jobs->count, JOBS_MAX);
        free(jobs);
        return NULL;
    }
    cJSON_ArrayForEach (job, list)
        tasks += (size_t)cJSON_GetArraySize(tn_json_get(job, "tasks"));
    jobs->words = (size_t)jobs->count / 64 + 1;
    jobs->upstream = calloc((size_t)jobs->count * jobs->words + 1, sizeof(*jobs->upstream));
    jobs->owners = calloc(tasks + 1, sizeof(*jobs->owners));
    if (jobs->upstream == NULL || jobs->owners == NULL)
        tn_fatal(3, "out of memory: %d jobs of a workspace", jobs->count);
    cJSON_ArrayForEach (job, list) {
        failed = failed != 0 ? failed : read_requires(jobs, job, at, err);
        read_tasks(jobs, job, at++);
    }
    qsort(jobs->owners, jobs->owner_count, sizeof(*jobs->owners), by_task);
    if (failed == 0)
        return jobs;
    tn_layer_jobs_free(jobs);
    return NULL;
}

void tn_layer_jobs_free(struct tn_layer_jobs *jobs)
{
    if (jobs == NULL)
        return;
    free(jobs->upstream);
    free(jobs->owners);
    free(jobs);
}

int tn_layer_jobs_find(const struct tn_layer_jobs *jobs, uint64_t task)
{
    struct owner wanted = {task, 0};
    const struct owner *found = bsearch(&wanted, jobs->owners, jobs->owner_count, sizeof(*jobs->owners), by_task);

    return found != NULL ? found->job : -1;
}

const char *tn_layer_jobs_name(const struct tn_layer_jobs *jobs, int job)
{
    return job >= 0 ? tn_json_string(cJSON_GetArrayItem(jobs->list, job), "name", "?") : "?";
}

bool tn_layer_jobs_concurrent(const struct tn_layer_jobs *jobs, const struct tn_layer *a, const struct tn_layer *b)
{
    if (a->job < 0 || b->job < 0 || a->task == b->task)
        return false;
    return a->job == b->job || (!is_upstream(jobs, a->job, b->job) && !is_upstream(jobs, b->job, a->job));
}

/* ---- conflicts ---- */

/* A path and those who persisted it: a chain through `entries`, the first one is in the hash table. */
struct entry {
    const char *path; /* borrowed */
    size_t layer;
    size_t next;   /* of the same path in a later layer; 0: none */
    size_t last;   /* of the first one: the end of its chain */
    bool reported; /* of the first one */
};

struct table {
    size_t *slots; /* owned; index + 1 into entries */
    size_t mask;
    struct entry *entries; /* owned; from 1 on */
    size_t count;
};

/* FNV-1a from a random start, with a final mix: jobs choose the paths, and could choose them to collide. */
static uint64_t hash_of(const char *text)
{
    uint64_t hash = 14695981039346656037ull;
    const void *seed = (const void *)getauxval(AT_RANDOM);

    if (seed != NULL)
        memcpy(&hash, seed, sizeof(hash));
    for (; *text != '\0'; text++)
        hash = (hash ^ (unsigned char)*text) * 1099511628211ull;
    hash ^= hash >> 32;
    hash *= 0x9fb21c651e98df25ull;
    return hash ^ hash >> 28;
}

static size_t *slot_of(const struct table *table, const char *path)
{
    size_t at = (size_t)hash_of(path) & table->mask;

    while (table->slots[at] != 0 && strcmp(table->entries[table->slots[at]].path, path) != 0)
        at = (at + 1) & table->mask;
    return &table->slots[at];
}

static void table_init(struct table *table, size_t paths)
{
    table->mask = 1;
    while (table->mask < paths * 2)
        table->mask *= 2;
    table->slots = calloc(table->mask, sizeof(*table->slots));
    table->entries = calloc(paths + 1, sizeof(*table->entries));
    if (table->slots == NULL || table->entries == NULL)
        tn_fatal(3, "out of memory: %zu paths of a workspace", paths);
    table->mask--;
}

static void add_name(cJSON *names, const char *name)
{
    const cJSON *item;

    cJSON_ArrayForEach (item, names)
        if (strcmp(item->valuestring, name) == 0)
            return;
    cJSON_AddItemToArray(names, cJSON_CreateString(name));
}

static void report(const struct tn_layer_jobs *jobs, const struct tn_layer *layers, const struct table *table,
                   size_t first, cJSON *conflicts)
{
    cJSON *item = cJSON_CreateObject();
    cJSON *names = cJSON_AddArrayToObject(item, "jobs");

    cJSON_AddStringToObject(item, "path", table->entries[first].path);
    for (size_t at = first; at != 0; at = table->entries[at].next)
        add_name(names, tn_layer_jobs_name(jobs, layers[table->entries[at].layer].job));
    cJSON_AddItemToArray(conflicts, item);
}

/* Adds a path; true if it is the first conflict about it. Layers come one after the other, so a path that a layer has
 * twice is at the end of its chain already: a chain is never longer than there are layers. */
static bool add_path(const struct tn_layer_jobs *jobs, const struct tn_layer *layers, struct table *table,
                     const char *path, size_t layer)
{
    size_t *slot = slot_of(table, path);
    struct entry *first = &table->entries[*slot];
    bool concurrent = false;
    size_t fresh;

    if (*slot != 0 && table->entries[first->last].layer == layer)
        return false;
    fresh = ++table->count;
    table->entries[fresh] = (struct entry){.path = path, .layer = layer, .last = fresh};
    if (*slot == 0) {
        *slot = fresh;
        return false;
    }
    for (size_t at = *slot; at != 0 && !concurrent && !first->reported; at = table->entries[at].next)
        concurrent = tn_layer_jobs_concurrent(jobs, &layers[table->entries[at].layer], &layers[layer]);
    table->entries[first->last].next = fresh;
    first->last = fresh;
    first->reported = first->reported || concurrent;
    return concurrent;
}

static size_t count_paths(const struct tn_buf *paths)
{
    size_t count = 0;

    for (size_t i = 0; i < paths->len; i++)
        count += paths->data[i] == '\0';
    return count;
}

static void compare(const struct tn_layer_jobs *jobs, const struct tn_layer *layers, const struct tn_buf *lists,
                    size_t count, cJSON *conflicts, size_t *total)
{
    struct table table = {0};
    size_t paths = 0;

    for (size_t i = 0; i < count; i++)
        paths += count_paths(&lists[i]);
    table_init(&table, paths);
    for (size_t i = 0; i < count; i++)
        for (size_t at = 0; at < lists[i].len; at += strlen(lists[i].data + at) + 1)
            *total += add_path(jobs, layers, &table, lists[i].data + at, i);
    for (size_t i = 1; i <= table.count && cJSON_GetArraySize(conflicts) < TN_LAYER_CONFLICTS_MAX; i++)
        if (table.entries[i].reported)
            report(jobs, layers, &table, i, conflicts);
    free(table.slots);
    free(table.entries);
}

int tn_layers_conflicts(const struct tn_layer_jobs *jobs, const struct tn_layer *layers, size_t count, cJSON *conflicts,
                        size_t *total, struct tn_err *err)
{
    struct tn_buf *lists = calloc(count + 1, sizeof(*lists));
    bool any = false;
    int failed = 0;

    *total = 0;
    if (lists == NULL)
        tn_fatal(3, "out of memory: %zu layers", count);
    for (size_t i = 0; i < count && !any; i++)
        for (size_t k = 0; k < i && !any; k++)
            any = tn_layer_jobs_concurrent(jobs, &layers[i], &layers[k]);
    for (size_t i = 0; any && i < count && failed == 0; i++)
        failed = tn_layer_list_read(layers[i].path, &lists[i], err);
    if (any && failed == 0)
        compare(jobs, layers, lists, count, conflicts, total);
    for (size_t i = 0; i < count; i++)
        tn_buf_free(&lists[i]);
    free(lists);
    return failed;
}
