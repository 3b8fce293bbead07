#include "executors/docker/container_image.h"

#include "core/lib/argv.h"
#include "core/lib/buf.h"
#include "core/lib/log.h"

#include <openssl/crypto.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

cJSON *tn_container_words_new(const char *text)
{
    char **words = tn_argv_split(text);
    cJSON *list = words != NULL || text[strspn(text, " \t\r\n")] == '\0' ? cJSON_CreateArray() : NULL;

    for (size_t i = 0; words != NULL && words[i] != NULL; i++)
        cJSON_AddItemToArray(list, cJSON_CreateString(words[i]));
    tn_argv_free(words);
    return list;
}

static int refuse(struct tn_err *err, const char *image, const char *key, const char *expected)
{
    return tn_err_set(err, TN_ERR_CONFIG, "docker image \"%.200s\": \"%.60s\" is not what it must be; expected %s",
                      image, key, expected);
}

static char *copy(const char *text)
{
    char *copied = strdup(text);

    if (copied == NULL)
        tn_fatal(3, "out of memory: a docker image of the plan");
    return copied;
}

static int take_text(const cJSON *item, const char *image, char **to, struct tn_err *err)
{
    const char *text = cJSON_GetStringValue(item);

    if (text == NULL || text[0] == '\0' || *to != NULL)
        return refuse(err, image, item->string, "a text, given once");
    *to = copy(text);
    return 0;
}

static int take_argv(const cJSON *item, const char *image, cJSON **to, struct tn_err *err)
{
    const cJSON *word;

    if (*to != NULL)
        return refuse(err, image, item->string, "to be given once");
    if (cJSON_IsString(item)) {
        *to = tn_container_words_new(item->valuestring);
        return *to != NULL ? 0 : refuse(err, image, item->string, "a text in which every quote is closed");
    }
    if (!cJSON_IsArray(item))
        return refuse(err, image, item->string, "a text or a list of texts");
    cJSON_ArrayForEach (word, item)
        if (!cJSON_IsString(word))
            return refuse(err, image, item->string, "a text or a list of texts");
    *to = cJSON_Duplicate(item, true);
    return 0;
}

static int take_environment(const cJSON *item, const char *image, cJSON **to, struct tn_err *err)
{
    auto_buf struct tn_buf line = TN_BUF_INIT;
    const cJSON *value;

    if (!cJSON_IsObject(item) || *to != NULL)
        return refuse(err, image, item->string, "a map of names and values, given once");
    *to = cJSON_CreateArray();
    cJSON_ArrayForEach (value, item) {
        char *number;

        if (value->string[0] == '\0' || strchr(value->string, '=') != NULL)
            return refuse(err, image, item->string, "names that are not empty and hold no \"=\"");
        if (cJSON_IsArray(value) || cJSON_IsObject(value))
            return refuse(err, image, item->string, "values that are texts, numbers or booleans");
        tn_buf_reset(&line);
        tn_buf_addf(&line, "%s=", value->string);
        number = cJSON_IsNumber(value) ? cJSON_PrintUnformatted(value) : NULL;
        if (cJSON_IsString(value))
            tn_buf_adds(&line, value->valuestring);
        else if (number != NULL)
            tn_buf_adds(&line, number);
        else if (cJSON_IsBool(value))
            tn_buf_adds(&line, cJSON_IsTrue(value) ? "true" : "false");
        cJSON_free(number);
        cJSON_AddItemToArray(*to, cJSON_CreateString(line.data));
    }
    return 0;
}

static int take_auth(const cJSON *item, struct tn_container_image *image, const char *text, struct tn_err *err)
{
    const char *username = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "username"));
    const char *password = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "password"));

    if (username == NULL || password == NULL || image->username != NULL)
        return refuse(err, text, item->string, "a map with the texts \"username\" and \"password\", given once");
    image->username = copy(username);
    image->password = copy(password);
    return 0;
}

static int take_aws_auth(const cJSON *item, struct tn_container_image *image, const char *text, struct tn_err *err)
{
    const char *id = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "aws_access_key_id"));
    const char *secret = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "aws_secret_access_key"));
    const char *role = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "oidc_role_arn"));

    if ((role == NULL) == (id == NULL || secret == NULL) || image->aws_key_id != NULL || image->aws_role != NULL)
        return refuse(err, text, item->string,
                      "a map with the texts \"aws_access_key_id\" and \"aws_secret_access_key\", or with "
                      "\"oidc_role_arn\", given once");
    if (role != NULL) {
        image->aws_role = copy(role);
        return 0;
    }
    image->aws_key_id = copy(id);
    image->aws_secret = copy(secret);
    return 0;
}

/* Letters, digits, "-", "_" and ".": what can stand in /etc/hosts. */
static bool is_host_name(const char *name)
{
    size_t len = strlen(name);

    return len <= TN_CONTAINER_HOST_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == len &&
           strchr("-.", name[0]) == NULL;
}

static int take_key(const cJSON *item, struct tn_container_image *image, const char *text, struct tn_err *err)
{
    const char *key = item->string;

    if (strcmp(key, "image") == 0)
        return 0;
    if (strcmp(key, "name") == 0) {
        if (take_text(item, text, &image->name, err) < 0)
            return -1;
        return is_host_name(image->name)
                   ? 0
                   : refuse(err, text, key, "a host name: at most 253 letters, digits, \"-\", \"_\" and \".\"");
    }
    if (strcmp(key, "user") == 0)
        return take_text(item, text, &image->user, err);
    if (strcmp(key, "entrypoint") == 0)
        return take_argv(item, text, &image->entrypoint, err);
    if (strcmp(key, "command") == 0)
        return take_argv(item, text, &image->command, err);
    if (strcmp(key, "environment") == 0)
        return take_environment(item, text, &image->environment, err);
    if (strcmp(key, "auth") == 0)
        return take_auth(item, image, text, err);
    if (strcmp(key, "aws_auth") == 0)
        return take_aws_auth(item, image, text, err);
    return tn_err_set(err, TN_ERR_CONFIG,
                      "docker image \"%.200s\": \"%.60s\" is not supported; expected image, name, user, entrypoint, "
                      "command, environment, auth or aws_auth",
                      text, key);
}

int tn_container_image_parse(const cJSON *entry, struct tn_container_image *image, struct tn_err *err)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(entry, "image"));
    const cJSON *item;

    memset(image, 0, sizeof(*image));
    if (text == NULL)
        return tn_err_set(err, TN_ERR_CONFIG, "a docker image without the text \"image\"; expected its name there");
    image->text = copy(text);
    if (tn_image_ref_parse(text, &image->ref, err) < 0)
        return -1;
    cJSON_ArrayForEach (item, entry) {
        /* Left out is the same as null. */
        if (!cJSON_IsNull(item) && take_key(item, image, text, err) < 0)
            return -1;
    }
    if (image->username != NULL && (image->aws_key_id != NULL || image->aws_role != NULL))
        return refuse(err, text, "aws_auth", "either \"auth\" or \"aws_auth\", not both");
    return 0;
}

void tn_container_image_free(struct tn_container_image *image)
{
    if (image->password != NULL)
        OPENSSL_cleanse(image->password, strlen(image->password));
    if (image->aws_secret != NULL)
        OPENSSL_cleanse(image->aws_secret, strlen(image->aws_secret));
    free(image->text);
    free(image->name);
    free(image->user);
    free(image->username);
    free(image->password);
    free(image->aws_key_id);
    free(image->aws_secret);
    free(image->aws_role);
    cJSON_Delete(image->entrypoint);
    cJSON_Delete(image->command);
    cJSON_Delete(image->environment);
    memset(image, 0, sizeof(*image));
}
