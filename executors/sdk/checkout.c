#include "executors/sdk/checkout.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "executors/sdk/checkout_script.h"
#include "executors/sdk/internal.h"
#include "executors/sdk/small_files.h"
#include "executors/sdk/ssh_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TRIES = 3 }; /* while the remote cannot be reached */

static const cJSON *wanted(const struct tn_task *task)
{
    return tn_json_get(task->lease, "checkout");
}

static const char *wanted_text(const struct tn_task *task, const char *key)
{
    return tn_json_string(wanted(task), key, "");
}

bool tn_checkout_is_remote(const struct tn_task *task, const char *type)
{
    return strcmp(type, "checkout") == 0 && wanted(task) != NULL;
}

/* The pipeline's address was parsed when it was made; whatever became of it on the way is not given to git. */
static bool find_remote(const struct tn_task *task, struct tn_remote *remote, struct tn_err *err)
{
    return tn_remote_parse(wanted_text(task, "url"), remote, err) == 0;
}

static bool is_ssh(const struct tn_remote *remote)
{
    return strcmp(remote->scheme, "ssh") == 0;
}

static bool is_http(const struct tn_remote *remote)
{
    return strncmp(remote->scheme, "http", 4) == 0;
}

const char *tn_checkout_key_name(const struct tn_task *task)
{
    const char *url = wanted_text(task, "url");
    const struct tn_identity *identity;
    struct tn_remote remote;

    for (const cJSON *pair = cJSON_GetArrayItem(tn_json_get(task->lease, "environment"), 0);
         pair != NULL && url[0] == '\0'; pair = pair->next) {
        const char *name = cJSON_GetStringValue(cJSON_GetArrayItem(pair, 0));

        if (name != NULL && strcmp(name, "CIRCLE_REPOSITORY_URL") == 0)
            url = cJSON_GetStringValue(cJSON_GetArrayItem(pair, 1));
        if (url == NULL)
            return "";
    }
    if (tn_remote_parse(url, &remote, NULL) != 0 || !is_ssh(&remote))
        return "";
    identity = tn_keyring_key(tn_executor_keyring(task->executor), &remote);
    return identity != NULL ? identity->key.sha256 : "";
}

/* ---- git ---- */

static char *helper_path(const struct tn_task *task)
{
    return tn_fs_path("%s/checkout/token", task->scratch);
}

/* Git asks it for user and token, which lie in a file of the environment: neither an argument, nor a variable, nor a
 * config holds them. */
static char *helper_command(const struct tn_task *task)
{
    auto_free char *path = helper_path(task);
    auto_free char *quoted = tn_shell_quoted(path);

    return tn_fs_path("!f() { test \"$1\" = get && cat %s; }; f", quoted);
}

static char *ssh_command(const struct tn_task *task, bool with_key)
{
    auto_free char *folder = tn_runner_path(task, "~/.ssh");
    auto_free char *known =
        tn_fs_path("UserKnownHostsFile=\"%s/known_hosts\"%s", folder, task->home != NULL ? " ~/.ssh/known_hosts" : "");
    auto_free char *known_quoted = tn_shell_quoted(known);
    auto_free char *key = tn_fs_path("%s/id_rsa", folder);
    auto_free char *key_quoted = tn_shell_quoted(key);

    return tn_fs_path("ssh -o BatchMode=yes -o StrictHostKeyChecking=yes -o ConnectTimeout=30 -o %s%s%s", known_quoted,
                      with_key ? " -o IdentitiesOnly=yes -i " : "", with_key ? key_quoted : "");
}

static void add_ssh(struct tn_task *task, const struct tn_remote *remote, struct tn_environ *env)
{
    bool with_key = tn_keyring_key(tn_executor_keyring(task->executor), remote) != NULL;
    auto_free char *command = ssh_command(task, with_key);
    auto_free char *config = tn_runner_path(task, "~/.ssh/config");
    auto_free char *quoted = tn_shell_quoted(config);
    auto_free char *lasting = tn_fs_path("ssh -F %s", quoted);
    auto_free char *instead = tn_fs_path("https://%s", remote->host);

    tn_environ_set(env, "GIT_SSH_COMMAND", command);
    tn_environ_set(env, "TENON_CHECKOUT_SSH", "yes");
    if (with_key && !remote->has_port)
        tn_environ_set(env, "TENON_CHECKOUT_INSTEAD", instead);
    if (task->home != NULL)
        tn_environ_set(env, "TENON_CHECKOUT_SSH_COMMAND", lasting);
}

static void add_token(struct tn_task *task, const struct tn_remote *remote, struct tn_environ *env)
{
    auto_free char *scope = tn_fs_path("%s://%s", remote->scheme, remote->place);
    auto_free char *helper = helper_command(task);

    tn_environ_set(env, "TENON_CHECKOUT_SCOPE", scope);
    tn_environ_set(env, "TENON_CHECKOUT_HELPER", helper);
}

static void run_git(struct tn_task *task)
{
    static const char *const words[] = {"/bin/sh", "-c", tn_checkout_script, "checkout", NULL};
    static const char *const empty[] = {"SSH", "SSH_COMMAND", "INSTEAD", "SCOPE", "HELPER"};
    static const char *const texts[][2] = {{"URL", "url"},       {"REF", "ref"}, {"NAME", "name"},
                                           {"BRANCH", "branch"}, {"TAG", "tag"}, {"REVISION", "revision"}};
    auto_environ struct tn_environ env = TN_ENVIRON_INIT;
    auto_free char *folder = tn_runner_path(task, tn_json_string(task->tree->step, "path", "."));
    struct tn_remote remote;
    struct tn_err err = TN_ERR_INIT;
    char name[64];

    if (!find_remote(task, &remote, &err)) {
        tn_tree_done(task, "%s", err.text);
        return;
    }
    tn_runner_environ(task, NULL, &env);
    for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
        snprintf(name, sizeof(name), "TENON_CHECKOUT_%s", empty[i]);
        tn_environ_set(&env, name, "");
    }
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        snprintf(name, sizeof(name), "TENON_CHECKOUT_%s", texts[i][0]);
        tn_environ_set(&env, name, wanted_text(task, texts[i][1]));
    }
    tn_environ_set(&env, "TENON_CHECKOUT_FOLDER", folder);
    tn_environ_set(&env, "TENON_CHECKOUT_METHOD", tn_json_string(task->tree->step, "method", "blobless"));
    tn_environ_set(&env, "LC_ALL", "C");
    tn_environ_set(&env, "GIT_TERMINAL_PROMPT", "0");
    tn_environ_set(&env, "GIT_ASKPASS", "");
    tn_environ_set(&env, "SSH_ASKPASS", "");
    if (is_ssh(&remote))
        add_ssh(task, &remote, &env);
    else if (is_http(&remote) && tn_keyring_token(tn_executor_keyring(task->executor), &remote) != NULL)
        add_token(task, &remote, &env);
    /* In the job's folder: the one of the checkout may not be there yet. */
    (void)tn_command_spawn(task, words, &env, "/");
}

/* ---- before it: what it needs to get in ---- */

static void begin_ssh(struct tn_task *task, const struct tn_remote *remote)
{
    const struct tn_keyring *keyring = tn_executor_keyring(task->executor);
    const struct tn_identity *identity = tn_keyring_key(keyring, remote);
    const char *problem = identity != NULL && identity->problem[0] != '\0' ? identity->problem : keyring->known_problem;

    if (problem[0] != '\0') {
        tn_tree_done(task, "%s", problem);
        return;
    }
    if (task->progress.rerun == 0 && identity != NULL)
        tn_runner_say(task, "SSH key for %s: %s\n", identity->host, identity->key.sha256);
    else if (task->progress.rerun == 0)
        tn_runner_say(task, "No SSH key for %s is in `checkout.keys`: git takes what the environment has\n",
                      remote->place);
    task->tree->ssh = calloc(1, sizeof(*task->tree->ssh));
    if (task->tree->ssh == NULL)
        tn_fatal(3, "out of memory: a checkout");
    task->tree->ssh->identity = identity;
    task->tree->ssh->done = run_git;
    tn_ssh_files_put(task);
}

static void begin_token(struct tn_task *task, const struct tn_token *token)
{
    auto_buf struct tn_buf tar = TN_BUF_INIT;
    auto_buf struct tn_buf text = TN_BUF_INIT;

    if (token->problem[0] != '\0') {
        tn_tree_done(task, "%s", token->problem);
        return;
    }
    tn_buf_addf(&text, "username=%s\npassword=%s\n", token->username, token->text);
    tn_small_add(&tar, "checkout/", 0700, "", 0);
    tn_small_add(&tar, "checkout/token", 0600, text.data, text.len);
    tn_small_put(task, task->scratch, &tar, run_git);
    explicit_bzero(text.data, text.len);
    explicit_bzero(tar.data, tar.len);
}

void tn_checkout_begin(struct tn_task *task)
{
    const struct tn_token *token = NULL;
    struct tn_remote remote;
    struct tn_err err = TN_ERR_INIT;

    if (!find_remote(task, &remote, &err)) {
        tn_tree_done(task, "%s", err.text);
        return;
    }
    if (is_http(&remote))
        token = tn_keyring_token(tn_executor_keyring(task->executor), &remote);
    if (is_ssh(&remote))
        begin_ssh(task, &remote);
    else if (token != NULL)
        begin_token(task, token);
    else
        run_git(task);
}

/* ---- after it ---- */

/* Whose key or token it was that was refused, for people. */
static void refused(const struct tn_task *task, const struct tn_remote *remote, char *out, size_t size)
{
    const struct tn_keyring *keyring = tn_executor_keyring(task->executor);
    const struct tn_identity *identity = tn_keyring_key(keyring, remote);
    const struct tn_token *token = tn_keyring_token(keyring, remote);

    if (is_ssh(remote) && identity != NULL)
        snprintf(out, size, "%s does not accept the SSH key %s of `checkout.keys` (%s)", remote->place,
                 identity->key.sha256, identity->file);
    else if (is_ssh(remote))
        snprintf(out, size, "%s wants an SSH key, and `checkout.keys` of tenon.yaml has none for it", remote->place);
    else if (token != NULL)
        snprintf(out, size, "%s does not accept the user %s and the token of `checkout.tokens` (%s)", remote->place,
                 token->username, token->file);
    else
        snprintf(out, size, "%s does not let everybody in, and `checkout.tokens` of tenon.yaml has no token for it",
                 remote->place);
}

static void explain(struct tn_task *task, unsigned status, char *out, size_t size)
{
    struct tn_remote remote;
    auto_free char *folder =
        tn_runner_path(task, tn_json_string(tn_runner_step(task, task->progress.step), "path", "."));
    const char *url = wanted_text(task, "url");

    if (!find_remote(task, &remote, NULL))
        snprintf(remote.place, sizeof(remote.place), "?");
    switch (status) {
    case TN_CHECKOUT_NO_GIT:
        snprintf(out, size,
                 "there is no git in the environment, and checkout from a remote needs it: take an image "
                 "that has git");
        break;
    case TN_CHECKOUT_NO_SSH:
        snprintf(out, size,
                 "there is no ssh in the environment, and %s is reached by it: take an image that has "
                 "openssh-client, or an https address",
                 url);
        break;
    case TN_CHECKOUT_OTHER_FOLDER:
        snprintf(out, size, "Directory (%s) you are trying to checkout to is not empty and not a git repository",
                 folder);
        break;
    case TN_CHECKOUT_NO_FOLDER:
        snprintf(out, size, "the folder %s cannot be made or entered", folder);
        break;
    case TN_CHECKOUT_UNKNOWN_HOST:
        snprintf(out, size,
                 "the host key of %s is not known: put it into the file that `checkout.known_hosts` of "
                 "tenon.yaml names (ssh-keyscan prints it)",
                 remote.place);
        break;
    case TN_CHECKOUT_CHANGED_HOST:
        snprintf(out, size,
                 "%s has another host key than the known one: somebody may sit in between; if it was "
                 "changed on purpose, change `checkout.known_hosts`",
                 remote.place);
        break;
    case TN_CHECKOUT_WRONG_KEY:
    case TN_CHECKOUT_WRONG_TOKEN:
    case TN_CHECKOUT_NO_TOKEN:
        refused(task, &remote, out, size);
        break;
    case TN_CHECKOUT_NO_REF:
        snprintf(out, size, "%s has no %s", url, wanted_text(task, "ref"));
        break;
    case TN_CHECKOUT_NO_REVISION:
        snprintf(out, size, "%s has no revision %s", url, wanted_text(task, "revision"));
        break;
    case TN_CHECKOUT_NO_REPOSITORY:
        snprintf(out, size, "%s has no repository %s, or does not show it to us", remote.place, remote.path);
        break;
    case TN_CHECKOUT_UNREACHABLE:
        snprintf(out, size, "%s cannot be reached, tried %u times", remote.place, task->progress.rerun + 1);
        break;
    default:
        snprintf(out, size, "git ended with status %u", status);
        break;
    }
}

void tn_checkout_ended(struct tn_task *task, const struct tn_agent_exit *end)
{
    char reason[1024];
    bool stopped = task->progress.canceled || task->progress.timed_out;

    if (end->kind == TN_AGENT_EXITED && end->code == 0) {
        tn_tree_done(task, NULL);
        return;
    }
    if (end->kind == TN_AGENT_EXITED && end->code == TN_CHECKOUT_UNREACHABLE && !stopped &&
        task->progress.rerun + 1 < TRIES) {
        unsigned seconds = task->progress.rerun == 0 ? 1 : 4;

        tn_runner_say(task, "\nThe remote cannot be reached: try %u of %d in %us\n\n", task->progress.rerun + 2, TRIES,
                      seconds);
        tn_tree_free(task);
        tn_command_again(task, seconds * 1000u);
        return;
    }
    if (end->kind == TN_AGENT_NO_SPAWN)
        snprintf(reason, sizeof(reason), "checkout from a remote needs /bin/sh and git in the environment: %.*s",
                 (int)end->text_len, end->text);
    else if (end->kind == TN_AGENT_SIGNALED)
        snprintf(reason, sizeof(reason), "git was killed by signal %u (%s)", end->code, strsignal((int)end->code));
    else
        explain(task, end->code, reason, sizeof(reason));
    tn_tree_done(task, "%s", reason);
}

/* ---- add_ssh_keys ---- */

static void keys_added(struct tn_task *task)
{
    const struct tn_ssh_files *ssh = task->tree->ssh;
    char name[80];

    for (size_t i = 0; i < ssh->key_count; i++)
        tn_runner_say(task, "Installed the SSH key %s (%s) for host %s as ~/.ssh/%s\n", ssh->keys[i]->key.md5,
                      ssh->keys[i]->key.sha256, ssh->keys[i]->host,
                      tn_ssh_files_name(ssh->keys[i], name, sizeof(name)));
    tn_tree_done(task, NULL);
}

static void unknown_key(struct tn_task *task, const char *fingerprint)
{
    const struct tn_keyring *keyring = tn_executor_keyring(task->executor);
    auto_buf struct tn_buf known = TN_BUF_INIT;

    for (size_t i = 0; i < keyring->key_count; i++) {
        const struct tn_identity *identity = &keyring->keys[i];

        if (identity->problem[0] != '\0')
            tn_runner_say(task, "%s\n", identity->problem);
        else
            tn_buf_addf(&known, "%s%s or %s for %s", known.len > 0 ? ", " : "", identity->key.md5, identity->key.sha256,
                        identity->host);
    }
    tn_tree_done(task, "no SSH key with the fingerprint %.100s is in `checkout.keys` of tenon.yaml; known are: %.380s",
                 fingerprint, known.len > 0 ? known.data : "none");
}

void tn_add_ssh_keys(struct tn_task *task)
{
    const struct tn_keyring *keyring = tn_executor_keyring(task->executor);
    const cJSON *fingerprints = tn_json_get(task->tree->step, "fingerprints");
    struct tn_ssh_files *ssh = calloc(1, sizeof(*ssh));
    const cJSON *fingerprint;

    if (ssh == NULL)
        tn_fatal(3, "out of memory: SSH keys");
    task->tree->ssh = ssh;
    ssh->done = keys_added;
    cJSON_ArrayForEach (fingerprint, fingerprints) {
        const struct tn_identity *identity = tn_keyring_find(keyring, fingerprint->valuestring);

        if (identity == NULL) {
            unknown_key(task, fingerprint->valuestring);
            return;
        }
        if (ssh->key_count < TN_KEYRING_MAX)
            ssh->keys[ssh->key_count++] = identity;
    }
    for (size_t i = 0; i < keyring->key_count && cJSON_GetArraySize(fingerprints) == 0; i++) {
        if (keyring->keys[i].problem[0] != '\0') {
            tn_tree_done(task, "%s", keyring->keys[i].problem);
            return;
        }
        ssh->keys[ssh->key_count++] = &keyring->keys[i];
    }
    if (ssh->key_count == 0) {
        tn_runner_say(task, "No SSH key is in `checkout.keys` of tenon.yaml: nothing to add\n");
        tn_tree_done(task, NULL);
        return;
    }
    tn_ssh_files_put(task);
}
