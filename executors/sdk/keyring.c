#include "executors/sdk/keyring.h"
#include "core/lib/buf.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/known_hosts.h"
#include "core/lib/log.h"
#include "core/lib/permit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* Root may let the group of a service's own user read what is root's. */
static bool is_for_us(const struct stat *info)
{
    return info->st_uid == 0 && geteuid() != 0 && info->st_gid == getegid();
}

/* A secret's file is the owner's alone, and the owner is who runs this, or root. */
static int check_owner(const char *path, struct tn_err *err)
{
    struct stat info;

    if (stat(path, &info) != 0) {
        tn_err_sys(err, errno, "cannot read %s", path);
        return tn_permit_add(err, path);
    }
    if (!S_ISREG(info.st_mode))
        return tn_err_set(err, TN_ERR_CONFIG, "%s is not a file", path);
    if (info.st_uid != geteuid() && info.st_uid != 0)
        return tn_err_set(err, TN_ERR_CONFIG, "%s belongs to another user (%u); expected user %u or root", path,
                          (unsigned)info.st_uid, (unsigned)geteuid());
    if ((info.st_mode & (is_for_us(&info) ? 037 : 077)) != 0)
        return tn_err_set(err, TN_ERR_CONFIG,
                          "%s is open to others (mode %04o), so it is not used; close it with `chmod 600 %s`", path,
                          (unsigned)info.st_mode & 07777, path);
    return 0;
}

static int read_secret(const char *path, size_t limit, struct tn_buf *text, struct tn_err *err)
{
    if (path[0] == '\0')
        return tn_err_set(err, TN_ERR_CONFIG, "no file is named");
    if (check_owner(path, err) != 0)
        return -1;
    if (tn_fs_read(path, limit, text, err) != 0)
        return tn_permit_add(err, path);
    if (text->len == 0 || memchr(text->data, '\0', text->len) != NULL)
        return tn_err_set(err, TN_ERR_CONFIG, "%s %s", path, text->len == 0 ? "is empty" : "holds a NUL byte");
    return 0;
}

static void read_key(struct tn_identity *identity, const cJSON *item)
{
    auto_buf struct tn_buf text = TN_BUF_INIT;
    struct tn_err err = TN_ERR_INIT;

    identity->host = tn_json_string(item, "host", "*");
    identity->file = tn_json_string(item, "file", "");
    if (read_secret(identity->file, TN_SSH_KEY_BYTES, &text, &err) != 0) {
        tn_err_wrap(&err, "the SSH key for %s", identity->host);
    } else if (tn_ssh_key_read(text.data, text.len, &identity->key, &err) != 0) {
        tn_err_wrap(&err, "the SSH key for %s, %s", identity->host, identity->file);
    } else {
        if (text.len == 0 || text.data[text.len - 1] != '\n')
            tn_buf_adds(&text, "\n"); /* without it ssh calls the key invalid */
        identity->text = tn_buf_steal(&text);
    }
    snprintf(identity->problem, sizeof(identity->problem), "%.590s", err.text);
}

static void read_token(struct tn_token *token, const cJSON *item)
{
    auto_buf struct tn_buf text = TN_BUF_INIT;
    struct tn_err err = TN_ERR_INIT;

    token->host = tn_json_string(item, "host", "");
    token->username = tn_json_string(item, "username", "");
    token->file = tn_json_string(item, "file", "");
    if (read_secret(token->file, TN_TOKEN_BYTES, &text, &err) == 0) {
        while (text.len > 0 && strchr("\r\n", text.data[text.len - 1]) != NULL)
            text.data[--text.len] = '\0';
        if (text.len == 0 || strpbrk(text.data, "\r\n") != NULL)
            tn_err_set(&err, TN_ERR_CONFIG, "%s: expected one line", token->file);
        else
            token->text = tn_buf_steal(&text);
    }
    if (err.code != TN_OK)
        tn_err_wrap(&err, "the token for %s", token->host);
    snprintf(token->problem, sizeof(token->problem), "%.590s", err.text);
}

static void read_known_hosts(struct tn_keyring *keyring, const char *path)
{
    auto_buf struct tn_buf text = TN_BUF_INIT;
    struct tn_err err = TN_ERR_INIT;

    tn_buf_adds(&text, tn_known_hosts);
    if (path[0] != '\0') {
        auto_buf struct tn_buf file = TN_BUF_INIT;

        if (tn_fs_read(path, TN_KNOWN_HOSTS_MAX, &file, &err) == 0 && file.len > 0) {
            tn_buf_add(&text, file.data, file.len);
            if (file.data[file.len - 1] != '\n')
                tn_buf_adds(&text, "\n");
        }
        (void)tn_permit_add(&err, path);
    }
    snprintf(keyring->known_problem, sizeof(keyring->known_problem), "%.590s", err.text);
    keyring->known_hosts = tn_buf_steal(&text);
}

static void warn_of(const char *problem)
{
    if (problem[0] != '\0')
        tn_warn("checkout: %s", problem);
}

struct tn_keyring *tn_keyring_read(const cJSON *settings)
{
    const cJSON *section = tn_json_get(settings, "checkout");
    struct tn_keyring *keyring = calloc(1, sizeof(*keyring));
    const cJSON *item;

    if (keyring == NULL)
        tn_fatal(3, "out of memory: the keys for checkout");
    cJSON_ArrayForEach (item, tn_json_get(section, "keys"))
        if (keyring->key_count < TN_KEYRING_MAX)
            read_key(&keyring->keys[keyring->key_count++], item);
    cJSON_ArrayForEach (item, tn_json_get(section, "tokens"))
        if (keyring->token_count < TN_KEYRING_MAX)
            read_token(&keyring->tokens[keyring->token_count++], item);
    read_known_hosts(keyring, tn_json_string(section, "known_hosts", ""));
    for (size_t i = 0; i < keyring->key_count; i++)
        warn_of(keyring->keys[i].problem);
    for (size_t i = 0; i < keyring->token_count; i++)
        warn_of(keyring->tokens[i].problem);
    warn_of(keyring->known_problem);
    return keyring;
}

/* Out of memory that is given back. */
static void forget(char *secret)
{
    if (secret != NULL)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

void tn_keyring_free(struct tn_keyring *keyring)
{
    if (keyring == NULL)
        return;
    for (size_t i = 0; i < keyring->key_count; i++) {
        forget(keyring->keys[i].text);
        tn_ssh_key_free(&keyring->keys[i].key);
    }
    for (size_t i = 0; i < keyring->token_count; i++)
        forget(keyring->tokens[i].text);
    free(keyring->known_hosts);
    free(keyring);
}

const struct tn_identity *tn_keyring_key(const struct tn_keyring *keyring, const struct tn_remote *remote)
{
    for (size_t i = 0; i < keyring->key_count; i++)
        if (tn_remote_is_host(remote, keyring->keys[i].host))
            return &keyring->keys[i];
    for (size_t i = 0; i < keyring->key_count; i++)
        if (strcmp(keyring->keys[i].host, "*") == 0)
            return &keyring->keys[i];
    return NULL;
}

const struct tn_token *tn_keyring_token(const struct tn_keyring *keyring, const struct tn_remote *remote)
{
    for (size_t i = 0; i < keyring->token_count; i++)
        if (tn_remote_is_host(remote, keyring->tokens[i].host))
            return &keyring->tokens[i];
    return NULL;
}

const struct tn_identity *tn_keyring_find(const struct tn_keyring *keyring, const char *fingerprint)
{
    const char *md5 = strncasecmp(fingerprint, "MD5:", 4) == 0 ? fingerprint + 4 : fingerprint;
    size_t length = strcspn(fingerprint, "="); /* some write the padding of the base64 */

    for (size_t i = 0; i < keyring->key_count; i++) {
        const struct tn_ssh_key *key = &keyring->keys[i].key;

        if (key->line != NULL && ((key->md5[0] != '\0' && strcasecmp(key->md5, md5) == 0) ||
                                  (strlen(key->sha256) == length && strncmp(key->sha256, fingerprint, length) == 0)))
            return &keyring->keys[i];
    }
    return NULL;
}

/* A key's lines, without the first and the last, which are those of every key. */
static void add_body(cJSON *masks, const char *text)
{
    auto_buf struct tn_buf body = TN_BUF_INIT;

    while (*text != '\0') {
        size_t length = strcspn(text, "\n");

        if (strncmp(text, "-----", 5) != 0)
            tn_buf_addf(&body, "%.*s\n", (int)length, text);
        text += length + (text[length] != '\0');
    }
    if (body.len > 0)
        cJSON_AddItemToArray(masks, cJSON_CreateString(body.data));
}

void tn_keyring_masks(const struct tn_keyring *keyring, cJSON *masks)
{
    for (size_t i = 0; i < keyring->key_count; i++)
        if (keyring->keys[i].text != NULL)
            add_body(masks, keyring->keys[i].text);
    for (size_t i = 0; i < keyring->token_count; i++)
        if (keyring->tokens[i].text != NULL)
            cJSON_AddItemToArray(masks, cJSON_CreateString(keyring->tokens[i].text));
}
