#include "executors/sdk/small_files.h"
#include "executors/sdk/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 512 };

/* ---- reading ---- */

static void on_bytes(struct tn_task *task, const void *bytes, size_t length)
{
    if (task->tree->buffer.len + length <= TN_SMALL_FILE_MAX)
        tn_buf_add(&task->tree->buffer, bytes, length);
}

static void on_read(struct tn_task *task, const struct tn_agent_exit *end)
{
    struct tn_tree_state *tree = task->tree;
    char text[TN_AGENT_TEXT_MAX + 1];

    snprintf(text, sizeof(text), "%.*s", (int)end->text_len, end->text);
    if (end->kind == TN_AGENT_EXITED && end->code == 0)
        tree->small_read(task, tree->buffer.data != NULL ? tree->buffer.data : "", tree->buffer.len);
    else if (strstr(text, strerror(ENOENT)) != NULL || strstr(text, "No such file") != NULL)
        tree->small_read(task, NULL, 0);
    else
        tn_tree_done(task, "%s", text);
}

void tn_small_read(struct tn_task *task, const char *path,
                   void (*then)(struct tn_task *task, const char *text, size_t length))
{
    struct tn_err err = TN_ERR_INIT;

    tn_buf_reset(&task->tree->buffer);
    task->tree->small_read = then;
    task->op = (struct tn_op){.channel = tn_runner_channel(task), .on_out = on_bytes, .on_exit = on_read};
    tn_runner_sent(task, tn_agent_link_file_get(task->link, task->op.channel, path, TN_SMALL_FILE_MAX, &err), &err);
}

/* ---- writing ---- */

/* POSIX ustar: https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html, "ustar Interchange Format". */
void tn_small_add(struct tn_buf *tar, const char *name, unsigned mode, const void *bytes, size_t length)
{
    char header[BLOCK] = {0};
    static const char zeros[BLOCK];
    unsigned sum = 0;

    snprintf(header, 100, "%s", name);
    snprintf(header + 100, 8, "%07o", mode & 07777);
    snprintf(header + 108, 8, "%07o", 0);
    snprintf(header + 116, 8, "%07o", 0);
    snprintf(header + 124, 12, "%011o", (unsigned)length);
    snprintf(header + 136, 12, "%011o", (unsigned)(tn_now_ms() / 1000));
    memset(header + 148, ' ', 8);
    header[156] = name[0] != '\0' && name[strlen(name) - 1] == '/' ? '5' : '0';
    memcpy(header + 257, "ustar\00000", 8); /* NOLINT(bugprone-not-null-terminated-result): the format wants none */
    for (size_t i = 0; i < BLOCK; i++)
        sum += (unsigned char)header[i];
    snprintf(header + 148, 7, "%06o", sum);
    tn_buf_add(tar, header, BLOCK);
    tn_buf_add(tar, bytes, length);
    tn_buf_add(tar, zeros, (BLOCK - length % BLOCK) % BLOCK);
}

static void on_put(struct tn_task *task, const struct tn_agent_exit *end)
{
    if (end->kind != TN_AGENT_EXITED || end->code != 0)
        tn_tree_done(task, "cannot write to %s: %.*s", task->tree->target, (int)end->text_len, end->text);
    else
        task->tree->small_put(task);
}

void tn_small_put(struct tn_task *task, const char *folder, struct tn_buf *tar, void (*then)(struct tn_task *task))
{
    static const char end_mark[2 * BLOCK];
    struct tn_tree_state *tree = task->tree;
    struct tn_err err = TN_ERR_INIT;
    size_t sent = 0;
    int rc;

    tn_buf_add(tar, end_mark, sizeof(end_mark));
    if (tar->len > TN_AGENT_WINDOW) {
        tn_tree_done(task, "the files for %s have %zu bytes, at most %u are taken", folder, tar->len, TN_AGENT_WINDOW);
        return;
    }
    free(tree->target);
    tree->target = strdup(folder);
    tree->small_put = then;
    task->op = (struct tn_op){.channel = tn_runner_channel(task), .on_exit = on_put};
    rc = tn_agent_link_tree_put(task->link, task->op.channel, folder, &err);
    while (rc == 0 && sent < tar->len) {
        size_t part = tar->len - sent < TN_AGENT_STDIN_MAX ? tar->len - sent : TN_AGENT_STDIN_MAX;

        rc = tn_agent_link_stdin(task->link, task->op.channel, sent, tar->data + sent, part, &err);
        sent += part;
    }
    if (rc == 0)
        rc = tn_agent_link_stdin_eof(task->link, task->op.channel, sent, &err);
    tn_runner_sent(task, rc, &err);
}
