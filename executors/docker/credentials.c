#include "executors/docker/credentials.h"

#include "core/lib/buf.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "core/lib/permit.h"

#include <openssl/crypto.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *copy(const char *text)
{
    char *copied = strdup(text);

    if (copied == NULL)
        tn_fatal(3, "out of memory: credentials");
    return copied;
}

void tn_credentials_wipe(char *secret)
{
    if (secret != NULL)
        OPENSSL_cleanse(secret, strlen(secret));
    free(secret);
}

void tn_credentials_clear(struct tn_credentials *credentials)
{
    free(credentials->username);
    tn_credentials_wipe(credentials->password);
    memset(credentials, 0, sizeof(*credentials));
}

/* ---- the config's ---- */

/* The name in "$NAME" or "${NAME}", or NULL: `value` is a text. The caller frees it. */
static char *reference(const char *value)
{
    static const char first[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";
    static const char name[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";
    bool braces = strncmp(value, "${", 2) == 0;
    size_t skip = braces ? 2 : 1;
    size_t len;

    if (value[0] != '$' || value[skip] == '\0' || strchr(first, value[skip]) == NULL)
        return NULL;
    len = strspn(value + skip, name);
    return strcmp(value + skip + len, braces ? "}" : "") == 0 ? strndup(value + skip, len) : NULL;
}

/* The value of the last pair of this name, or NULL. Borrowed. */
static const char *last_of(const cJSON *pairs, const char *name)
{
    const char *found = NULL;
    const cJSON *pair;

    cJSON_ArrayForEach (pair, pairs) {
        const char *key = cJSON_GetStringValue(cJSON_GetArrayItem(pair, 0));

        if (key != NULL && strcmp(key, name) == 0)
            found = cJSON_GetStringValue(cJSON_GetArrayItem(pair, 1));
    }
    return found;
}

char *tn_credentials_value(const cJSON *lease, const char *key, const char *value, struct tn_err *err)
{
    auto_free char *name = reference(value);
    const char *found;

    if (name == NULL)
        return copy(value);
    found = last_of(tn_json_get(lease, "context_environment"), name);
    if (found == NULL)
        found = last_of(tn_json_get(lease, "project_environment"), name);
    if (found != NULL && found[0] != '\0')
        return copy(found);
    tn_err_set(err, TN_ERR_CONFIG,
               "`%s` is the variable %.100s, which %s in the job's contexts and in the project's variables; define it "
               "there, or correct the name",
               key, name, found != NULL ? "is empty" : "is not defined");
    return NULL;
}

int tn_credentials_of_config(const cJSON *lease, const char *username, const char *password,
                             struct tn_credentials *credentials, struct tn_err *err)
{
    memset(credentials, 0, sizeof(*credentials));
    credentials->username = tn_credentials_value(lease, "username", username, err);
    if (credentials->username != NULL)
        credentials->password = tn_credentials_value(lease, "password", password, err);
    if (credentials->password == NULL) {
        tn_credentials_clear(credentials);
        return tn_err_wrap(err, "`auth`");
    }
    snprintf(credentials->whose, sizeof(credentials->whose), "user \"%.100s\" (`auth` in the config)",
             credentials->username);
    return 0;
}

/* ---- the operator's ---- */

/* Docker Hub has several names. */
static const char *plain_host(const char *host)
{
    static const char *const hub[] = {"index.docker.io", "registry-1.docker.io", "https://index.docker.io/v1/"};

    for (size_t i = 0; i < sizeof(hub) / sizeof(hub[0]); i++)
        if (strcmp(host, hub[i]) == 0)
            return "docker.io";
    return host;
}

static int read_password(const char *path, char **password, struct tn_err *err)
{
    auto_buf struct tn_buf text = TN_BUF_INIT;
    size_t len;

    if (path[0] == '\0')
        return tn_err_set(err, TN_ERR_CONFIG, "it has no \"password_file\"");
    if (tn_fs_read(path, TN_CREDENTIALS_PASSWORD_MAX, &text, err) != 0)
        return tn_permit_add(err, path);
    len = text.len;
    while (len > 0 && strchr("\r\n", text.data[len - 1]) != NULL)
        len--;
    if (len == 0 || memchr(text.data, '\0', len) != NULL)
        return tn_err_set(err, TN_ERR_CONFIG, "%s is %s; expected the password and nothing else", path,
                          len == 0 ? "empty" : "no text");
    *password = strndup(text.data, len);
    OPENSSL_cleanse(text.data, text.len);
    if (*password == NULL)
        tn_fatal(3, "out of memory: credentials");
    return 0;
}

int tn_credentials_of_operator(const cJSON *registries, const char *host, struct tn_credentials *credentials,
                               struct tn_err *err)
{
    const cJSON *entry;

    memset(credentials, 0, sizeof(*credentials));
    cJSON_ArrayForEach (entry, registries) {
        if (strcmp(plain_host(tn_json_string(entry, "host", "")), host) != 0)
            continue;
        if (read_password(tn_json_string(entry, "password_file", ""), &credentials->password, err) != 0)
            return tn_err_wrap(err, "docker.registries in tenon.yaml, registry %.200s", host);
        credentials->username = copy(tn_json_string(entry, "username", ""));
        snprintf(credentials->whose, sizeof(credentials->whose), "user \"%.100s\" (docker.registries in tenon.yaml)",
                 credentials->username);
        return 1;
    }
    return 0;
}
