/* The steps that move file trees between the environment and the store: checkout, caches, workspaces, artifacts, test
 * results. Each is a short chain of operations on the agent and requests to tenon-output; after a crash it starts over. */
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "executors/sdk/cache_key.h"
#include "executors/sdk/internal.h"

#include <openssl/evp.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    READ_BYTES = 512 * 1024,        /* of one BLOB_READ */
    CHECKSUM_MAX = 1 << 30,         /* bytes of a file that a cache key may be made of */
    KEY_VALUE_BYTES = 4096,
};

struct tn_tree_state {
    const cJSON *step; /* borrowed */
    /* sending blobs into the environment, one after the other */
    cJSON *blobs; /* owned array */
    int blob;     /* index of the current one */
    char *target; /* folder in the environment */
    uint32_t channel;
    uint64_t read, sent, limit, total; /* bytes of the current blob; total of all */
    struct tn_buf buffer;              /* read and not sent, from `taken` on */
    size_t taken;
    bool reading, at_end, eof_sent;
    void (*put_done)(struct tn_task *task);
    /* receiving a tree from the environment */
    uint32_t stream;
    uint64_t received;
    bool missing;
    void (*get_done)(struct tn_task *task);
    /* the keys of a cache */
    cJSON *checksums; /* owned: path → base64 */
    char *checksum_path;
    EVP_MD_CTX *digest;
    struct tn_environ env;
    char value[KEY_VALUE_BYTES];
    void (*keys_done)(struct tn_task *task, cJSON *keys); /* keys: owned by the callee */
    char *key;
    char *base; /* "home" or "root": what the paths in a cache are relative to */
};

void tn_tree_free(struct tn_task *task)
{
    struct tn_tree_state *tree = task->tree;

    if (tree == NULL)
        return;
    task->tree = NULL;
    cJSON_Delete(tree->blobs);
    cJSON_Delete(tree->checksums);
    free(tree->target);
    free(tree->checksum_path);
    free(tree->key);
    free(tree->base);
    EVP_MD_CTX_free(tree->digest);
    tn_environ_free(&tree->env);
    tn_buf_free(&tree->buffer);
    free(tree);
}

static void done(struct tn_task *task, const char *fmt, ...) TN_PRINTF(2, 3);

/* Ends the step; `fmt` NULL for success. */
static void done(struct tn_task *task, const char *fmt, ...)
{
    char reason[512];
    va_list ap;

    if (fmt != NULL) {
        va_start(ap, fmt);
        vsnprintf(reason, sizeof(reason), fmt, ap);
        va_end(ap);
    }
    tn_tree_free(task); /* now: the reason may be made of it */
    tn_runner_step_done(task, fmt != NULL ? reason : NULL);
}

static const char *size_text(uint64_t bytes, char *out, size_t size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1024;
        unit++;
    }
    snprintf(out, size, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return out;
}

/* ---- from the store into the environment ---- */

static void put_next(struct tn_task *task);

static void on_blob_bytes(void *arg, const void *bytes, size_t length, bool end, const struct tn_err *err);

static void pump(struct tn_task *task)
{
    struct tn_tree_state *tree = task->tree;
    const cJSON *blob = cJSON_GetArrayItem(tree->blobs, tree->blob);
    struct tn_err err = TN_ERR_INIT;

    while (tree->taken < tree->buffer.len && tree->sent < tree->limit) {
        size_t part = tree->buffer.len - tree->taken;

        if (part > TN_AGENT_STDIN_MAX)
            part = TN_AGENT_STDIN_MAX;
        if (part > tree->limit - tree->sent)
            part = (size_t)(tree->limit - tree->sent);
        if (tn_agent_link_stdin(task->link, tree->channel, tree->sent, tree->buffer.data + tree->taken, part, &err) !=
            0) {
            tn_runner_sent(task, -1, &err);
            return;
        }
        tree->taken += part;
        tree->sent += part;
    }
    if (tree->taken == tree->buffer.len) {
        tn_buf_reset(&tree->buffer);
        tree->taken = 0;
        if (tree->at_end && !tree->eof_sent) {
            tree->eof_sent = true;
            tn_runner_sent(task, tn_agent_link_stdin_eof(task->link, tree->channel, tree->sent, &err), &err);
            return;
        }
    }
    if (!tree->at_end && !tree->reading && tree->buffer.len - tree->taken < READ_BYTES / 2) {
        tree->reading = true;
        tn_outlet_read(task->outlet, tn_json_string(blob, "id", ""), tree->read, READ_BYTES, on_blob_bytes, task);
    }
}

static void on_blob_bytes(void *arg, const void *bytes, size_t length, bool end, const struct tn_err *err)
{
    struct tn_task *task = arg;
    struct tn_tree_state *tree = task->tree;

    if (tree == NULL || !tree->reading)
        return;
    tree->reading = false;
    if (err != NULL) {
        done(task, "cannot read from the store: %s", err->text);
        return;
    }
    if (tree->taken > 0) {
        tn_buf_consume(&tree->buffer, tree->taken);
        tree->taken = 0;
    }
    tn_buf_add(&tree->buffer, bytes, length);
    tree->read += length;
    tree->total += length;
    tree->at_end = end;
    pump(task);
}

void tn_tree_on_window(struct tn_task *task, uint32_t channel, uint64_t limit)
{
    struct tn_tree_state *tree = task->tree;

    if (tree == NULL || tree->blobs == NULL || channel != tree->channel || limit <= tree->limit)
        return;
    tree->limit = limit;
    pump(task);
}

static void on_put(struct tn_task *task, const struct tn_agent_exit *end)
{
    struct tn_tree_state *tree = task->tree;

    if (end->kind != TN_AGENT_EXITED || end->code != 0) {
        done(task, "cannot write to %s: %.*s", tree->target, (int)end->text_len, end->text);
        return;
    }
    tree->blob++;
    put_next(task);
}

static void put_next(struct tn_task *task)
{
    struct tn_tree_state *tree = task->tree;
    struct tn_err err = TN_ERR_INIT;

    if (tree->blob >= cJSON_GetArraySize(tree->blobs)) {
        tree->put_done(task);
        return;
    }
    tree->channel = tn_runner_channel(task);
    tree->read = tree->sent = 0;
    tree->limit = TN_AGENT_WINDOW;
    tree->at_end = tree->eof_sent = tree->reading = false;
    tn_buf_reset(&tree->buffer);
    tree->taken = 0;
    task->op = (struct tn_op){.channel = tree->channel, .on_exit = on_put};
    if (tn_agent_link_tree_put(task->link, tree->channel, tree->target, &err) != 0)
        tn_runner_sent(task, -1, &err);
    else
        pump(task);
}

/* ---- from the environment into the store ---- */

static void on_got_bytes(struct tn_task *task, const void *bytes, size_t length)
{
    task->tree->received += length;
    tn_outlet_write(task->outlet, task->tree->stream, bytes, length);
}

static void on_got(struct tn_task *task, const struct tn_agent_exit *end)
{
    struct tn_tree_state *tree = task->tree;

    if (end->kind != TN_AGENT_EXITED || (end->code != 0 && (end->flags & TN_AGENT_MISSING) == 0)) {
        tn_outlet_close_stream(task->outlet, tree->stream, true, NULL, NULL);
        done(task, "cannot read the files: %.*s", (int)end->text_len, end->text);
        return;
    }
    tree->missing = (end->flags & TN_AGENT_MISSING) != 0;
    tree->get_done(task);
}

/* `paths` is an array of strings relative to `base`. */
static void get_tree(struct tn_task *task, const char *base, const cJSON *paths, uint32_t flags)
{
    size_t count = (size_t)cJSON_GetArraySize(paths);
    size_t used = 0;
    auto_free const char **list = calloc(count + 1, sizeof(*list));
    struct tn_err err = TN_ERR_INIT;
    const cJSON *path;

    if (list == NULL)
        tn_fatal(3, "out of memory: %zu paths", count);
    cJSON_ArrayForEach(path, paths) if (cJSON_IsString(path) && used < count) list[used++] = path->valuestring;
    task->op = (struct tn_op){.channel = tn_runner_channel(task), .on_out = on_got_bytes, .on_exit = on_got};
    tn_runner_sent(task, tn_agent_link_tree_get(task->link, task->op.channel, base, list, flags, &err), &err);
}

/* A stream of this step for bulk data; its number is never used twice. */
static void new_stream(struct tn_task *task)
{
    task->tree->stream = tn_runner_channel(task);
}

/* ---- checkout ---- */

static void checkout_done(struct tn_task *task)
{
    char text[32];

    tn_runner_say(task, "Checked out the working tree into %s (%s)\n", task->tree->target,
                  size_text(task->tree->total, text, sizeof(text)));
    done(task, NULL);
}

static void take_blobs(struct tn_tree_state *tree, const cJSON *answer)
{
    cJSON_Delete(tree->blobs);
    tree->blobs = cJSON_Duplicate(tn_json_get(answer, "blobs"), true);
    if (tree->blobs == NULL)
        tree->blobs = cJSON_CreateArray();
}

static void on_source(void *arg, const cJSON *answer, const struct tn_err *err)
{
    struct tn_task *task = arg;

    if (task->tree == NULL)
        return;
    if (err != NULL) {
        done(task, "cannot find the source: %s", err->text);
        return;
    }
    take_blobs(task->tree, answer);
    if (cJSON_GetArraySize(task->tree->blobs) == 0) {
        done(task, "there is nothing to check out: this pipeline came without a working tree");
        return;
    }
    task->tree->put_done = checkout_done;
    put_next(task);
}

static void checkout(struct tn_task *task)
{
    auto_json cJSON *body = cJSON_CreateObject();

    task->tree->target = tn_runner_path(task, tn_json_string(task->tree->step, "path", "."));
    cJSON_AddStringToObject(body, "type", "source");
    cJSON_AddStringToObject(body, "pipeline", tn_json_string(tn_json_get(task->lease, "pipeline"), "id", ""));
    tn_outlet_call(task->outlet, TN_MSG_BLOB_FIND, body, on_source, task);
}

/* ---- keys of caches ---- */

static const char *key_value(void *arg, const char *name)
{
    static const struct {
        const char *name, *variable;
    } variables[] = {{".Branch", "CIRCLE_BRANCH"},
                     {".BuildNum", "CIRCLE_BUILD_NUM"},
                     {".Revision", "CIRCLE_SHA1"},
                     {".CheckoutKey", "CHECKOUT_KEY"}};
    struct tn_task *task = arg;
    struct tn_tree_state *tree = task->tree;
    const char *value;
    char os[64];
    char arch[64];

    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
        if (strcmp(name, variables[i].name) == 0) {
            value = tn_environ_get(&tree->env, variables[i].variable);
            return value != NULL ? value : "";
        }
    }
    if (strncmp(name, ".Environment.", 13) == 0) {
        value = tn_environ_get(&tree->env, name + 13);
        return value != NULL ? value : "<no value>";
    }
    if (strcmp(name, "epoch") == 0) {
        snprintf(tree->value, sizeof(tree->value), "%llu", (unsigned long long)(tn_now_ms() / 1000));
        return tree->value;
    }
    if (strcmp(name, "arch") == 0) {
        tn_runner_fact(task, "os", os, sizeof(os));
        tn_runner_fact(task, "arch", arch, sizeof(arch));
        snprintf(tree->value, sizeof(tree->value), "%s-%s", os,
                 strcmp(arch, "x86_64") == 0 ? "amd64" : strcmp(arch, "aarch64") == 0 ? "arm64" : arch);
        return tree->value;
    }
    return NULL;
}

static const char *key_checksum(void *arg, const char *path)
{
    struct tn_task *task = arg;
    const char *known = tn_json_string(task->tree->checksums, path, NULL);

    if (known == NULL) {
        free(task->tree->checksum_path);
        task->tree->checksum_path = tn_fs_path("%s", path);
    }
    return known;
}

static void render_keys(struct tn_task *task);

static void on_checksum_bytes(struct tn_task *task, const void *bytes, size_t length)
{
    EVP_DigestUpdate(task->tree->digest, bytes, length);
}

static void on_checksum(struct tn_task *task, const struct tn_agent_exit *end)
{
    struct tn_tree_state *tree = task->tree;
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned char text[2 * EVP_MAX_MD_SIZE];
    unsigned length = 0;

    if (end->kind != TN_AGENT_EXITED || end->code != 0) {
        done(task, "error computing cache key: checksum \"%s\": %.*s", tree->checksum_path, (int)end->text_len,
             end->text);
        return;
    }
    EVP_DigestFinal_ex(tree->digest, hash, &length);
    EVP_EncodeBlock(text, hash, (int)length);
    cJSON_AddStringToObject(tree->checksums, tree->checksum_path, (const char *)text);
    render_keys(task);
}

static void read_checksum(struct tn_task *task)
{
    struct tn_tree_state *tree = task->tree;
    auto_free char *path = tn_runner_path(task, tree->checksum_path);
    struct tn_err err = TN_ERR_INIT;

    EVP_DigestInit_ex(tree->digest, EVP_sha256(), NULL);
    task->op = (struct tn_op){
        .channel = tn_runner_channel(task), .on_out = on_checksum_bytes, .on_exit = on_checksum};
    tn_runner_sent(task, tn_agent_link_file_get(task->link, task->op.channel, path, CHECKSUM_MAX, &err), &err);
}

/* Renders `key` and then `keys`; reads the files that they are made of on the way. */
static void render_keys(struct tn_task *task)
{
    struct tn_tree_state *tree = task->tree;
    struct tn_cache_key_source source = {.value = key_value, .checksum = key_checksum, .arg = task};
    auto_json cJSON *rendered = cJSON_CreateArray();
    auto_json cJSON *templates = cJSON_CreateArray();
    const char *single = tn_json_string(tree->step, "key", NULL);
    const cJSON *template;

    if (single != NULL)
        cJSON_AddItemToArray(templates, cJSON_CreateString(single));
    cJSON_ArrayForEach(template, tn_json_get(tree->step, "keys"))
        cJSON_AddItemToArray(templates, cJSON_Duplicate(template, false));
    cJSON_ArrayForEach(template, templates)
    {
        struct tn_err err = TN_ERR_INIT;
        char *key = NULL;
        int known = tn_cache_key_render(template->valuestring, &source, &key, &err);

        if (known == 0) {
            read_checksum(task);
            return;
        }
        if (known < 0) {
            done(task, "error computing cache key: %s", err.text);
            return;
        }
        cJSON_AddItemToArray(rendered, cJSON_CreateString(key));
        free(key);
    }
    tree->keys_done(task, steal_ptr(&rendered));
}

static void start_keys(struct tn_task *task, void (*keys_done)(struct tn_task *, cJSON *))
{
    struct tn_tree_state *tree = task->tree;

    tree->checksums = cJSON_CreateObject();
    tree->digest = EVP_MD_CTX_new();
    tree->keys_done = keys_done;
    if (tree->digest == NULL || tree->checksums == NULL)
        tn_fatal(3, "out of memory: a cache key");
    tn_runner_environ(task, NULL, &tree->env);
    render_keys(task);
}

/* ---- save_cache ---- */

static void on_cache_closed(void *arg, const cJSON *answer, const struct tn_err *err)
{
    struct tn_task *task = arg;
    char text[32];

    if (task->tree == NULL)
        return;
    if (err != NULL) {
        done(task, "the cache cannot be stored: %s", err->text);
        return;
    }
    tn_runner_say(task, "Stored Cache to %s (%s)\n", task->tree->key,
                  size_text(tn_json_u64(answer, "stored", task->tree->received), text, sizeof(text)));
    done(task, NULL);
}

static void cache_got(struct tn_task *task)
{
    tn_outlet_close_stream(task->outlet, task->tree->stream, false, on_cache_closed, task);
}

/* A cache goes back to where it came from. Where HOME differs from job to job (this host), only what lies below HOME can:
 * such paths are kept relative to it. */
static cJSON *cache_paths(struct tn_task *task)
{
    struct tn_tree_state *tree = task->tree;
    cJSON *absolute = cJSON_CreateArray();
    cJSON *relative = cJSON_CreateArray();
    const cJSON *path;
    auto_free char *home = tn_runner_path(task, "~");
    size_t length = strlen(home);
    bool all_home = true;

    cJSON_ArrayForEach(path, tn_json_get(tree->step, "paths"))
    {
        auto_free char *full = tn_runner_path(task, cJSON_IsString(path) ? path->valuestring : "");
        bool below = strncmp(full, home, length) == 0 && (full[length] == '/' || full[length] == '\0');

        if (below)
            cJSON_AddItemToArray(relative, cJSON_CreateString(full[length] == '/' ? full + length + 1 : "."));
        else if (task->root[0] != '\0')
            tn_runner_say(task, "Skipping %s: on this host only what lies below HOME is cached\n", full);
        all_home = all_home && (below || task->root[0] != '\0');
        cJSON_AddItemToArray(absolute, cJSON_CreateString(full + strspn(full, "/")));
    }
    tree->base = tn_fs_path("%s", all_home ? "home" : "root");
    tree->target = all_home ? tn_fs_path("%s", home) : tn_fs_path("/");
    cJSON_Delete(all_home ? absolute : relative);
    return all_home ? relative : absolute;
}

static void on_cache_opened(void *arg, const cJSON *answer, const struct tn_err *err)
{
    struct tn_task *task = arg;
    struct tn_tree_state *tree = task->tree;
    auto_json cJSON *paths = NULL;

    if (tree == NULL)
        return;
    if (err != NULL) {
        done(task, "the cache cannot be stored: %s", err->text);
        return;
    }
    if (tn_json_bool(answer, "exists", false)) {
        tn_runner_say(task, "Skipping cache generation, cache already exists for key: %s\n", tree->key);
        tn_outlet_close_stream(task->outlet, tree->stream, true, NULL, NULL);
        done(task, NULL);
        return;
    }
    free(tree->target);
    free(tree->base);
    paths = cache_paths(task);
    tree->get_done = cache_got;
    get_tree(task, tree->target, paths, 0);
}

static void save_keys_done(struct tn_task *task, cJSON *keys)
{
    struct tn_tree_state *tree = task->tree;
    auto_json cJSON *body = cJSON_CreateObject();
    auto_json cJSON *paths = cache_paths(task);

    tree->key = tn_fs_path("%s", cJSON_GetArrayItem(keys, 0)->valuestring);
    cJSON_Delete(keys);
    cJSON_AddStringToObject(body, "type", "cache");
    cJSON_AddStringToObject(body, "key", tree->key);
    cJSON_AddStringToObject(body, "base", tree->base);
    cJSON_AddNumberToObject(body, "step", task->progress.step);
    new_stream(task);
    tn_outlet_open_stream(task->outlet, tree->stream, body, on_cache_opened, task);
}

static void save_cache(struct tn_task *task)
{
    start_keys(task, save_keys_done);
}

/* ---- restore_cache ---- */

static void restore_done(struct tn_task *task)
{
    tn_runner_say(task, "Cached paths are back in %s\n", task->tree->target);
    done(task, NULL);
}

static void on_cache_found(void *arg, const cJSON *answer, const struct tn_err *err)
{
    struct tn_task *task = arg;
    const cJSON *blob;
    char text[32];

    if (task->tree == NULL)
        return;
    if (err == NULL)
        take_blobs(task->tree, answer);
    blob = err == NULL ? cJSON_GetArrayItem(task->tree->blobs, 0) : NULL;
    if (blob == NULL) {
        /* A cache that is not there never fails a job. */
        tn_runner_say(task, "No cache is found for key: %s%s%s\n", task->tree->key, err != NULL ? ": " : "",
                      err != NULL ? err->text : "");
        done(task, NULL);
        return;
    }
    tn_runner_say(task, "Found a cache at %s (%s)\n", tn_json_string(blob, "key", "?"),
                  size_text(tn_json_u64(blob, "size", 0), text, sizeof(text)));
    task->tree->target =
        strcmp(tn_json_string(blob, "base", "root"), "home") == 0 ? tn_runner_path(task, "~") : tn_fs_path("/");
    task->tree->put_done = restore_done;
    put_next(task);
}

static void restore_keys_done(struct tn_task *task, cJSON *keys)
{
    auto_json cJSON *body = cJSON_CreateObject();
    const cJSON *first = cJSON_GetArrayItem(keys, 0);

    task->tree->key = tn_fs_path("%s", first != NULL ? first->valuestring : "");
    cJSON_AddStringToObject(body, "type", "cache");
    cJSON_AddItemToObject(body, "keys", keys);
    tn_outlet_call(task->outlet, TN_MSG_BLOB_FIND, body, on_cache_found, task);
}

static void restore_cache(struct tn_task *task)
{
    start_keys(task, restore_keys_done);
}

/* ---- workspaces ---- */

static void on_layer_closed(void *arg, const cJSON *answer, const struct tn_err *err)
{
    struct tn_task *task = arg;
    char text[32];

    if (task->tree == NULL)
        return;
    if (err != NULL) {
        done(task, "the workspace layer cannot be stored: %s", err->text);
        return;
    }
    tn_runner_say(task, "Workspace layer stored (%s)\n",
                  size_text(tn_json_u64(answer, "stored", task->tree->received), text, sizeof(text)));
    done(task, NULL);
}

static void layer_got(struct tn_task *task)
{
    if (task->tree->missing) {
        tn_outlet_close_stream(task->outlet, task->tree->stream, true, NULL, NULL);
        done(task, "The specified paths did not match any files in %s", task->tree->target);
        return;
    }
    tn_outlet_close_stream(task->outlet, task->tree->stream, false, on_layer_closed, task);
}

static void on_layer_opened(void *arg, const cJSON *answer, const struct tn_err *err)
{
    struct tn_task *task = arg;

    if (task->tree == NULL)
        return;
    if (err != NULL) {
        done(task, "the workspace layer cannot be stored: %s", err->text);
        return;
    }
    task->tree->get_done = layer_got;
    get_tree(task, task->tree->target, tn_json_get(task->tree->step, "paths"), TN_AGENT_GLOB);
}

static void persist_to_workspace(struct tn_task *task)
{
    auto_json cJSON *body = cJSON_CreateObject();

    task->tree->target = tn_runner_path(task, tn_json_string(task->tree->step, "root", "."));
    cJSON_AddStringToObject(body, "type", "workspace");
    cJSON_AddNumberToObject(body, "step", task->progress.step);
    new_stream(task);
    tn_outlet_open_stream(task->outlet, task->tree->stream, body, on_layer_opened, task);
}

static void attach_done(struct tn_task *task)
{
    char text[32];

    tn_runner_say(task, "Workspace attached at %s: %d layers, %s\n", task->tree->target,
                  cJSON_GetArraySize(task->tree->blobs), size_text(task->tree->total, text, sizeof(text)));
    done(task, NULL);
}

static void on_layers(void *arg, const cJSON *answer, const struct tn_err *err)
{
    struct tn_task *task = arg;

    if (task->tree == NULL)
        return;
    if (err != NULL) {
        done(task, "the workspace cannot be read: %s", err->text);
        return;
    }
    take_blobs(task->tree, answer);
    task->tree->put_done = attach_done;
    put_next(task);
}

static void attach_workspace(struct tn_task *task)
{
    auto_json cJSON *body = cJSON_CreateObject();
    cJSON *tasks = cJSON_Duplicate(tn_json_get(task->lease, "upstream"), true);

    task->tree->target = tn_runner_path(task, tn_json_string(task->tree->step, "at", "."));
    cJSON_AddStringToObject(body, "type", "workspace");
    cJSON_AddItemToObject(body, "tasks", tasks != NULL ? tasks : cJSON_CreateArray());
    tn_outlet_call(task->outlet, TN_MSG_BLOB_FIND, body, on_layers, task);
}

/* ---- artifacts and test results ---- */

static bool is_tests(const struct tn_task *task)
{
    return strcmp(tn_json_string(task->tree->step, "type", ""), "store_test_results") == 0;
}

static void on_files_closed(void *arg, const cJSON *answer, const struct tn_err *err)
{
    struct tn_task *task = arg;
    const cJSON *tests;

    if (task->tree == NULL)
        return;
    if (err != NULL) {
        done(task, "cannot store %s: %s", task->tree->target, err->text);
        return;
    }
    tests = tn_json_get(answer, "tests");
    if (is_tests(task)) {
        task->progress.tests[0] += (unsigned)tn_json_number(tests, "total", 0);
        task->progress.tests[1] += (unsigned)tn_json_number(tests, "failed", 0);
        task->progress.tests[2] += (unsigned)tn_json_number(tests, "skipped", 0);
        tn_runner_say(task, "Stored %.0f test results, %.0f failed\n", tn_json_number(tests, "total", 0),
                      tn_json_number(tests, "failed", 0));
    } else {
        snprintf(task->progress.artifacts, sizeof(task->progress.artifacts), "%s", tn_json_string(answer, "path", ""));
        tn_runner_say(task, "Stored %.0f files below %s\n", tn_json_number(answer, "files", 0),
                      tn_json_string(answer, "path", "?"));
    }
    done(task, NULL);
}

static void files_got(struct tn_task *task)
{
    if (task->tree->missing) {
        tn_outlet_close_stream(task->outlet, task->tree->stream, true, NULL, NULL);
        tn_runner_say(task, is_tests(task) ? "Found no test results at %s, skipping\n" : "No artifact files found at %s\n",
                      task->tree->target);
        done(task, NULL);
        return;
    }
    tn_outlet_close_stream(task->outlet, task->tree->stream, false, on_files_closed, task);
}

static void on_files_opened(void *arg, const cJSON *answer, const struct tn_err *err)
{
    struct tn_task *task = arg;
    auto_json cJSON *paths = cJSON_CreateArray();
    auto_free char *base = NULL;
    char *slash;

    if (task->tree == NULL)
        return;
    if (err != NULL) {
        done(task, "cannot store %s: %s", task->tree->target, err->text);
        return;
    }
    base = tn_fs_path("%s", task->tree->target);
    slash = strrchr(base, '/');
    cJSON_AddItemToArray(paths, cJSON_CreateString(slash[1] != '\0' ? slash + 1 : "."));
    slash[slash == base ? 1 : 0] = '\0';
    task->tree->get_done = files_got;
    get_tree(task, base, paths, 0);
}

static void store_files(struct tn_task *task)
{
    auto_json cJSON *body = cJSON_CreateObject();
    const char *path = tn_json_string(task->tree->step, "path", ".");
    const char *destination = tn_json_string(task->tree->step, "destination", NULL);
    char *target = tn_runner_path(task, path);
    size_t length = strlen(target);

    while (length > 1 && target[length - 1] == '/')
        target[--length] = '\0';
    task->tree->target = target;
    cJSON_AddStringToObject(body, "type", is_tests(task) ? "test_results" : "artifacts");
    cJSON_AddNumberToObject(body, "step", task->progress.step);
    if (destination == NULL)
        destination = path[0] == '~' ? target : path;
    cJSON_AddStringToObject(body, "destination", destination + strspn(destination, "/"));
    new_stream(task);
    tn_outlet_open_stream(task->outlet, task->tree->stream, body, on_files_opened, task);
}

/* ---- keys ---- */

static void add_ssh_keys(struct tn_task *task)
{
    if (cJSON_GetArraySize(tn_json_get(task->tree->step, "fingerprints")) > 0) {
        done(task, "no SSH key is known to this installation, so those with the given fingerprints cannot be added");
        return;
    }
    tn_runner_say(task, "No SSH key is known to this installation: nothing to add\n");
    done(task, NULL);
}

bool tn_tree_begin(struct tn_task *task, const char *type, const cJSON *step)
{
    static const struct {
        const char *type;
        void (*begin)(struct tn_task *task);
    } types[] = {
        {"checkout", checkout},
        {"save_cache", save_cache},
        {"restore_cache", restore_cache},
        {"persist_to_workspace", persist_to_workspace},
        {"attach_workspace", attach_workspace},
        {"store_artifacts", store_files},
        {"store_test_results", store_files},
        {"add_ssh_keys", add_ssh_keys},
    };

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(type, types[i].type) != 0)
            continue;
        tn_tree_free(task);
        task->tree = calloc(1, sizeof(*task->tree));
        if (task->tree == NULL)
            tn_fatal(3, "out of memory: a step");
        task->tree->step = step;
        types[i].begin(task);
        return true;
    }
    return false;
}
