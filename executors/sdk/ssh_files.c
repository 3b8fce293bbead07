#include "executors/sdk/ssh_files.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"
#include "executors/sdk/internal.h"
#include "executors/sdk/small_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void tn_ssh_files_free(struct tn_ssh_files *ssh)
{
    if (ssh == NULL)
        return;
    if (ssh->tar.data != NULL)
        explicit_bzero(ssh->tar.data, ssh->tar.size);
    tn_buf_free(&ssh->tar);
    free(ssh);
}

const char *tn_ssh_files_name(const struct tn_identity *identity, char *out, size_t size)
{
    const char *name = identity->key.md5[0] != '\0' ? identity->key.md5 : identity->key.sha256;
    size_t used = (size_t)snprintf(out, size, "id_rsa_");

    for (; *name != '\0' && used + 1 < size; name++)
        if (*name != ':')
            out[used++] = *name == '/' || *name == '+' ? '_' : *name;
    out[used] = '\0';
    return out;
}

char *tn_shell_quoted(const char *text)
{
    struct tn_buf quoted = TN_BUF_INIT;

    tn_buf_adds(&quoted, "'");
    for (; *text != '\0'; text++)
        if (*text == '\'')
            tn_buf_adds(&quoted, "'\\''");
        else
            tn_buf_add(&quoted, text, 1);
    tn_buf_adds(&quoted, "'");
    return tn_buf_steal(&quoted);
}

/* ---- BASH_ENV, where HOME is not the account's ---- */

static void done(struct tn_task *task)
{
    struct tn_ssh_files *ssh = task->tree->ssh;

    if (ssh->tar.data != NULL)
        explicit_bzero(ssh->tar.data, ssh->tar.size);
    tn_buf_reset(&ssh->tar);
    ssh->done(task);
}

static void on_bash_env(struct tn_task *task, const char *text, size_t length)
{
    struct tn_ssh_files *ssh = task->tree->ssh;
    auto_free char *config = tn_runner_path(task, "~/.ssh/config");
    auto_free char *quoted = tn_shell_quoted(config);
    auto_free char *command = tn_fs_path("ssh -F %s", quoted);
    auto_free char *requoted = tn_shell_quoted(command);
    auto_buf struct tn_buf block = TN_BUF_INIT;
    auto_buf struct tn_buf whole = TN_BUF_INIT;

    tn_buf_addf(&block, "export GIT_SSH_COMMAND=%s RSYNC_RSH=%s\n", requoted, requoted);
    for (const char *name = "ssh\0scp\0sftp\0"; *name != '\0'; name += strlen(name) + 1)
        tn_buf_addf(&block, "%s() { command %s -F %s \"$@\"; }; export -f %s\n", name, name, quoted, name);
    if (text != NULL && memmem(text, length, block.data, block.len) != NULL) {
        done(task);
        return;
    }
    tn_buf_add(&whole, block.data, block.len);
    tn_buf_add(&whole, text != NULL ? text : "", length);
    tn_buf_reset(&ssh->tar);
    tn_small_add(&ssh->tar, "bash_env", 0644, whole.data, whole.len);
    tn_small_put(task, task->scratch, &ssh->tar, done);
}

static void on_ssh_put(struct tn_task *task)
{
    auto_free char *path = tn_fs_path("%s/bash_env", task->scratch);

    if (task->home != NULL)
        tn_small_read(task, path, on_bash_env);
    else
        done(task);
}

/* ---- ~/.ssh ---- */

static void on_known_hosts(struct tn_task *task, const char *text, size_t length)
{
    struct tn_ssh_files *ssh = task->tree->ssh;
    const char *ours = tn_executor_keyring(task->executor)->known_hosts;
    auto_free char *home = tn_runner_path(task, "~");
    auto_buf struct tn_buf whole = TN_BUF_INIT;

    tn_buf_add(&whole, text != NULL ? text : "", length);
    if (whole.len > 0 && whole.data[whole.len - 1] != '\n')
        tn_buf_adds(&whole, "\n");
    if (whole.len == 0 || strstr(whole.data, ours) == NULL)
        tn_buf_adds(&whole, ours);
    tn_small_add(&ssh->tar, ".ssh/known_hosts", 0600, whole.data, whole.len);
    tn_small_put(task, home, &ssh->tar, on_ssh_put);
}

/* The entry of one key. ssh asks for the file of the entry only, else it would offer every key there is and be refused
 * after some. */
static char *entry_of(const struct tn_task *task, const struct tn_identity *identity, const char *name)
{
    auto_free char *folder = tn_runner_path(task, "~/.ssh");
    struct tn_remote remote;
    auto_free char *url = tn_fs_path("ssh://%s/x", identity->host);
    bool is_host = tn_remote_parse(url, &remote, NULL) == 0; /* a Host entry has no port */

    return tn_fs_path("Host %s\n  IdentitiesOnly %s\n  IdentityFile \"%s/%s\"\n",
                      is_host ? remote.host : identity->host, strcmp(identity->host, "*") == 0 ? "no" : "yes", folder,
                      name);
}

static void add_entry(struct tn_buf *config, const char *text, const char *entry)
{
    if (text == NULL || strstr(text, entry) == NULL)
        tn_buf_adds(config, entry);
}

static void on_config(struct tn_task *task, const char *text, size_t length)
{
    struct tn_ssh_files *ssh = task->tree->ssh;
    auto_free char *folder = tn_runner_path(task, "~/.ssh");
    auto_free char *path = tn_fs_path("%s/known_hosts", folder);
    auto_buf struct tn_buf config = TN_BUF_INIT;
    char name[80];

    tn_small_add(&ssh->tar, ".ssh/", 0700, "", 0);
    for (size_t i = 0; i < ssh->key_count; i++) {
        const struct tn_identity *identity = ssh->keys[i];
        auto_free char *file = tn_fs_path(".ssh/%s", tn_ssh_files_name(identity, name, sizeof(name)));
        auto_free char *entry = entry_of(task, identity, name);

        tn_small_add(&ssh->tar, file, 0600, identity->text, strlen(identity->text));
        add_entry(&config, text, entry);
    }
    tn_buf_add(&config, text != NULL ? text : "", length); /* behind: of what ssh finds twice it takes the first */
    if (task->home != NULL) {
        auto_free char *rest = tn_fs_path("Host *\n  UserKnownHostsFile \"%s\" ~/.ssh/known_hosts\n", path);

        add_entry(&config, text, rest);
    }
    if (ssh->identity != NULL) {
        auto_free char *line = tn_fs_path("%s\n", ssh->identity->key.line);
        auto_free char *entry = tn_fs_path("Host *\n  IdentityFile \"%s/id_rsa\"\n", folder);

        tn_small_add(&ssh->tar, ".ssh/id_rsa", 0600, ssh->identity->text, strlen(ssh->identity->text));
        tn_small_add(&ssh->tar, ".ssh/id_rsa.pub", 0644, line, strlen(line));
        if (task->home != NULL)
            add_entry(&config, text, entry);
    }
    if (config.len > 0)
        tn_small_add(&ssh->tar, ".ssh/config", 0600, config.data, config.len);
    tn_small_read(task, path, on_known_hosts);
}

void tn_ssh_files_put(struct tn_task *task)
{
    auto_free char *path = tn_runner_path(task, "~/.ssh/config");

    tn_small_read(task, path, on_config);
}
