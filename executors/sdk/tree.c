/* Moving file trees between the environment and the store, and the step checkout. Each is a short chain of operations
 * on the agent and requests to tenon-output; after a crash it starts over. */
#include "executors/sdk/tree.h"

#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "core/lib/units.h"
#include "executors/sdk/checkout.h"
#include "executors/sdk/internal.h"
#include "executors/sdk/ssh_files.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { READ_BYTES = 512 * 1024 }; /* of one BLOB_READ */

void tn_tree_free(struct tn_task *task)
{
    struct tn_tree_state *tree = task->tree;

    if (tree == NULL)
        return;
    task->tree = NULL;
    cJSON_Delete(tree->blobs);
    cJSON_Delete(tree->checksums);
    cJSON_Delete(tree->paths);
    free(tree->target);
    free(tree->checksum_path);
    free(tree->key);
    free(tree->base);
    EVP_MD_CTX_free(tree->digest);
    tn_ssh_files_free(tree->ssh);
    tn_environ_free(&tree->env);
    tn_buf_free(&tree->buffer);
    free(tree);
}

void tn_tree_done(struct tn_task *task, const char *fmt, ...)
{
    void (*optional)(struct tn_task *) = task->tree->optional;
    char reason[512];
    va_list ap;

    if (fmt != NULL) {
        va_start(ap, fmt);
        vsnprintf(reason, sizeof(reason), fmt, ap);
        va_end(ap);
    }
    tn_tree_free(task); /* now: the reason may be made of it */
    if (optional != NULL) {
        if (fmt != NULL)
            tn_runner_say(task, "%s\n", reason);
        optional(task);
        return;
    }
    tn_runner_step_done(task, fmt != NULL ? reason : NULL);
}

/* ---- from the store into the environment ---- */

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
        tn_tree_done(task, "cannot read from the store: %s", err->text);
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
        tn_tree_done(task, "cannot write to %s: %.*s", tree->target, (int)end->text_len, end->text);
        return;
    }
    tree->blob++;
    tn_tree_put_next(task);
}

void tn_tree_put_next(struct tn_task *task)
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
        if (tree->no_base != NULL && end->text_len > 13 && strncmp(end->text, "cannot enter ", 13) == 0)
            tn_tree_done(task, "%s %s: no such file or directory", tree->no_base, tree->target);
        else
            tn_tree_done(task, "cannot read the files: %.*s", (int)end->text_len, end->text);
        return;
    }
    tree->missing = (end->flags & TN_AGENT_MISSING) != 0;
    tree->get_done(task);
}

/* There is no room for what is being sent: the step fails now, before the rest of it is read in vain. */
void tn_tree_on_stream_failed(struct tn_task *task, uint32_t stream, const struct tn_err *err)
{
    struct tn_tree_state *tree = task->tree;
    struct tn_err own = TN_ERR_INIT;

    if (tree == NULL || tree->stream != stream || task->op.channel == 0)
        return;
    if (tn_agent_link_signal(task->link, task->op.channel, SIGKILL, TN_AGENT_TREE, &own) != 0)
        tn_warn("task %llu.%u: %s", (unsigned long long)task->id, task->attempt, own.text);
    tn_outlet_close_stream(task->outlet, stream, true, NULL, NULL);
    if (tree->what != NULL)
        tn_tree_done(task, "%s: %s", tree->what, err->text);
    else
        tn_tree_done(task, "cannot store %s: %s", tree->target, err->text);
}

void tn_tree_get(struct tn_task *task, const char *base, const cJSON *paths, uint32_t flags)
{
    size_t count = (size_t)cJSON_GetArraySize(paths);
    size_t used = 0;
    auto_free const char **list = calloc(count + 1, sizeof(*list));
    struct tn_err err = TN_ERR_INIT;
    const cJSON *path;

    if (list == NULL)
        tn_fatal(3, "out of memory: %zu paths", count);
    cJSON_ArrayForEach (path, paths)
        if (cJSON_IsString(path) && used < count)
            list[used++] = path->valuestring;
    task->op = (struct tn_op){.channel = tn_runner_channel(task), .on_out = on_got_bytes, .on_exit = on_got};
    tn_runner_sent(task, tn_agent_link_tree_get(task->link, task->op.channel, base, list, flags, &err), &err);
}

void tn_tree_new_stream(struct tn_task *task)
{
    task->tree->stream = tn_runner_channel(task);
}

/* ---- checkout ---- */

static void checkout_done(struct tn_task *task)
{
    char text[32];

    tn_runner_say(task, "Checked out the working tree into %s (%s)\n", task->tree->target,
                  tn_units_size_text(task->tree->total, text, sizeof(text)));
    tn_tree_done(task, NULL);
}

void tn_tree_take_blobs(struct tn_tree_state *tree, const cJSON *answer)
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
        tn_tree_done(task, "cannot find the source: %s", err->text);
        return;
    }
    tn_tree_take_blobs(task->tree, answer);
    if (cJSON_GetArraySize(task->tree->blobs) == 0) {
        tn_tree_done(task, "there is nothing to check out: this pipeline came without a working tree");
        return;
    }
    task->tree->put_done = checkout_done;
    tn_tree_put_next(task);
}

static void checkout(struct tn_task *task)
{
    auto_json cJSON *body = cJSON_CreateObject();
    const char *method = tn_json_string(task->tree->step, "method", NULL);

    if (tn_checkout_is_remote(task, "checkout")) {
        tn_checkout_begin(task);
        return;
    }
    if (method != NULL)
        tn_runner_say(task, "method: %s has no effect: nothing is fetched, the working tree is copied\n", method);
    task->tree->target = tn_runner_path(task, tn_json_string(task->tree->step, "path", "."));
    cJSON_AddStringToObject(body, "type", "source");
    cJSON_AddStringToObject(body, "pipeline", tn_json_string(tn_json_get(task->lease, "pipeline"), "id", ""));
    tn_outlet_call(task->outlet, TN_MSG_BLOB_FIND, body, on_source, task);
}

/* ---- the steps ---- */

bool tn_tree_begin(struct tn_task *task, const char *type, const cJSON *step)
{
    static const struct {
        const char *type;
        void (*begin)(struct tn_task *task);
    } types[] = {
        {"checkout", checkout},
        {"save_cache", tn_tree_save_cache},
        {"restore_cache", tn_tree_restore_cache},
        {"persist_to_workspace", tn_tree_persist},
        {"attach_workspace", tn_tree_attach},
        {"store_artifacts", tn_tree_store_files},
        {"store_test_results", tn_tree_store_files},
        {"add_ssh_keys", tn_add_ssh_keys},
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
