#include "executors/docker/registry_auth.h"

#include "core/lib/log.h"

#include <cjson/cJSON.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

char *tn_registry_auth_new(const struct tn_image_ref *image, const char *username, const char *password)
{
    cJSON *object = cJSON_CreateObject();
    char *json;
    char *encoded;
    size_t len;

    cJSON_AddStringToObject(object, "username", username);
    cJSON_AddStringToObject(object, "password", password);
    cJSON_AddStringToObject(object, "serveraddress", tn_image_ref_auth_address(image));
    json = cJSON_PrintUnformatted(object);
    cJSON_Delete(object);
    if (json == NULL)
        tn_fatal(3, "out of memory: registry credentials");
    len = strlen(json);
    encoded = malloc(4 * ((len + 2) / 3) + 1);
    if (encoded == NULL)
        tn_fatal(3, "out of memory: registry credentials");
    EVP_EncodeBlock((unsigned char *)encoded, (const unsigned char *)json, (int)len);
    for (char *c = encoded; *c != '\0'; c++)
        *c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
    OPENSSL_cleanse(json, len);
    cJSON_free(json);
    return encoded;
}
