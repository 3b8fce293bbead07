/* The steps save_cache and restore_cache. */
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "core/lib/units.h"
#include "executors/sdk/cache_key.h"
#include "executors/sdk/checkout.h"
#include "executors/sdk/internal.h"
#include "executors/sdk/tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHECKSUM_MAX = 1 << 30 }; /* bytes of a file that a cache key may be made of */

/* ---- keys of caches ---- */

static const char *key_value(void *arg, const char *name)
{
    static const struct {
        const char *name, *variable;
    } variables[] = {{".Branch", "CIRCLE_BRANCH"}, {".BuildNum", "CIRCLE_BUILD_NUM"}, {".Revision", "CIRCLE_SHA1"}};
    struct tn_task *task = arg;
    struct tn_tree_state *tree = task->tree;
    const char *value;
    char os[64];
    char arch[64];
    char cpu[64];

    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
        if (strcmp(name, variables[i].name) == 0) {
            value = tn_environ_get(&tree->env, variables[i].variable);
            return value != NULL ? value : "";
        }
    }
    if (strcmp(name, ".CheckoutKey") == 0)
        return tn_checkout_key_name(task);
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
        tn_runner_fact(task, "cpu", cpu, sizeof(cpu));
        snprintf(tree->value, sizeof(tree->value), "%s-%s%s%s", os,
                 strcmp(arch, "x86_64") == 0    ? "amd64"
                 : strcmp(arch, "aarch64") == 0 ? "arm64"
                                                : arch,
                 cpu[0] != '\0' ? "-" : "", cpu);
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
        tn_tree_done(task, "error computing cache key: checksum \"%s\": %.*s", tree->checksum_path, (int)end->text_len,
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
    task->op = (struct tn_op){.channel = tn_runner_channel(task), .on_out = on_checksum_bytes, .on_exit = on_checksum};
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
    cJSON_ArrayForEach (template, tn_json_get(tree->step, "keys"))
        cJSON_AddItemToArray(templates, cJSON_Duplicate(template, false));
    cJSON_ArrayForEach (template, templates) {
        struct tn_err err = TN_ERR_INIT;
        char *key = NULL;
        int known = tn_cache_key_render(template->valuestring, &source, &key, &err);

        if (known == 0) {
            read_checksum(task);
            return;
        }
        if (known < 0) {
            tn_tree_done(task, "error computing cache key: %s", err.text);
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
        tn_tree_done(task, "the cache cannot be stored: %s", err->text);
        return;
    }
    if (tn_json_bool(answer, "exists", false)) { /* another job was first while this one was sent */
        tn_runner_say(task, "Skipping cache generation, cache already exists for key: %s\n", task->tree->key);
        tn_tree_done(task, NULL);
        return;
    }
    tn_runner_say(task, "Stored Cache to %s (%s)\n", task->tree->key,
                  tn_units_size_text(tn_json_u64(answer, "stored", task->tree->received), text, sizeof(text)));
    tn_tree_done(task, NULL);
}

static void cache_got(struct tn_task *task)
{
    tn_outlet_close_stream(task->outlet, task->tree->stream, false, on_cache_closed, task);
}

/* What follows `folder` in `path`, "." for the folder itself; NULL if the path is not below it. */
static const char *below(const char *path, const char *folder)
{
    size_t length = strlen(folder);

    if (strncmp(path, folder, length) != 0 || (path[length] != '/' && path[length] != '\0'))
        return NULL;
    path += length + strspn(path + length, "/");
    return *path != '\0' ? path : ".";
}

/* A cache goes back to where it came from. Where that differs from job to job (this host) its paths are kept relative
 * to HOME, or to the folder that stands for the root; a path outside of both stays out. False: nothing is left. */
static bool find_paths(struct tn_task *task)
{
    struct tn_tree_state *tree = task->tree;
    auto_free char *home = tn_runner_path(task, "~");
    cJSON *in_home = cJSON_CreateArray();
    cJSON *in_root = cJSON_CreateArray();
    bool is_home = true;
    const cJSON *path;

    cJSON_ArrayForEach (path, tn_json_get(tree->step, "paths")) {
        auto_free char *full = tn_runner_path(task, cJSON_IsString(path) ? path->valuestring : "");
        const char *from_home = below(full, home);
        const char *from_root = below(full, task->root);

        if (from_home != NULL)
            cJSON_AddItemToArray(in_home, cJSON_CreateString(from_home));
        if (from_root != NULL)
            cJSON_AddItemToArray(in_root, cJSON_CreateString(from_root));
        if (from_home == NULL && from_root == NULL)
            tn_runner_say(
                task, "Skipping %s: on this host only what lies below HOME or the working directory is cached\n", full);
        is_home = is_home && (from_home != NULL || from_root == NULL);
    }
    is_home = is_home || cJSON_GetArraySize(in_root) == 0;
    tree->base = tn_fs_path("%s", is_home ? "home" : "root");
    tree->target = is_home ? tn_fs_path("%s", home) : tn_fs_path("%s/", task->root);
    tree->paths = is_home ? in_home : in_root;
    cJSON_Delete(is_home ? in_root : in_home);
    return cJSON_GetArraySize(tree->paths) > 0;
}

static void on_cache_opened(void *arg, const cJSON *answer, const struct tn_err *err)
{
    struct tn_task *task = arg;
    struct tn_tree_state *tree = task->tree;

    if (tree == NULL)
        return;
    if (err != NULL) {
        tn_tree_done(task, "the cache cannot be stored: %s", err->text);
        return;
    }
    if (tn_json_bool(answer, "exists", false)) {
        tn_runner_say(task, "Skipping cache generation, cache already exists for key: %s\n", tree->key);
        tn_outlet_close_stream(task->outlet, tree->stream, true, NULL, NULL);
        tn_tree_done(task, NULL);
        return;
    }
    tree->get_done = cache_got;
    tn_tree_get(task, tree->target, tree->paths, 0);
}

static void save_keys_done(struct tn_task *task, cJSON *keys)
{
    struct tn_tree_state *tree = task->tree;
    auto_json cJSON *body = cJSON_CreateObject();

    tree->key = tn_fs_path("%s", cJSON_GetArrayItem(keys, 0)->valuestring);
    tree->what = "the cache cannot be stored";
    cJSON_Delete(keys);
    if (!find_paths(task)) {
        tn_runner_say(task, "Skipping cache generation, there is nothing to cache\n");
        tn_tree_done(task, NULL);
        return;
    }
    cJSON_AddStringToObject(body, "type", "cache");
    cJSON_AddStringToObject(body, "key", tree->key);
    cJSON_AddStringToObject(body, "base", tree->base);
    cJSON_AddNumberToObject(body, "step", task->progress.step);
    tn_tree_new_stream(task);
    tn_outlet_open_stream(task->outlet, tree->stream, body, on_cache_opened, task);
}

void tn_tree_save_cache(struct tn_task *task)
{
    start_keys(task, save_keys_done);
}

/* ---- restore_cache ---- */

static void restore_done(struct tn_task *task)
{
    tn_runner_say(task, "Cached paths are back in %s\n", task->tree->target);
    tn_tree_done(task, NULL);
}

static void on_cache_found(void *arg, const cJSON *answer, const struct tn_err *err)
{
    struct tn_task *task = arg;
    const cJSON *blob;
    const cJSON *warning;
    char text[32];

    if (task->tree == NULL)
        return;
    cJSON_ArrayForEach (warning, tn_json_get(answer, "warnings"))
        tn_runner_say(task, "Warning: %s\n", cJSON_IsString(warning) ? warning->valuestring : "?");
    if (err == NULL)
        tn_tree_take_blobs(task->tree, answer);
    blob = err == NULL ? cJSON_GetArrayItem(task->tree->blobs, 0) : NULL;
    if (blob == NULL) {
        /* A cache that is not there never fails a job. */
        tn_runner_say(task, "No cache is found for key: %s%s%s\n", task->tree->key, err != NULL ? ": " : "",
                      err != NULL ? err->text : "");
        tn_tree_done(task, NULL);
        return;
    }
    tn_runner_say(task, "Found a cache at %s (%s)\n", tn_json_string(blob, "key", "?"),
                  tn_units_size_text(tn_json_u64(blob, "size", 0), text, sizeof(text)));
    task->tree->target = strcmp(tn_json_string(blob, "base", "root"), "home") == 0 ? tn_runner_path(task, "~")
                                                                                   : tn_fs_path("%s/", task->root);
    task->tree->put_done = restore_done;
    tn_tree_put_next(task);
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

void tn_tree_restore_cache(struct tn_task *task)
{
    start_keys(task, restore_keys_done);
}
