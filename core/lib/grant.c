#include "core/lib/grant.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

enum { MAC = 32, MAC_TEXT = 2 * MAC };

static void write_hex(const uint8_t *bytes, size_t count, char *out)
{
    for (size_t i = 0; i < count; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

int tn_grant_key_read(const char *text, uint8_t key[TN_GRANT_KEY], struct tn_err *err)
{
    if (strspn(text, "0123456789abcdef") != TN_GRANT_KEY_TEXT - 1 || strlen(text) != TN_GRANT_KEY_TEXT - 1)
        return tn_err_set(err, TN_ERR_PROTOCOL, "a key of leases must be %d hexadecimal digits", TN_GRANT_KEY_TEXT - 1);
    for (size_t i = 0; i < TN_GRANT_KEY; i++) {
        unsigned value = 0;

        (void)sscanf(text + 2 * i, "%2x", &value); /* they are digits */
        key[i] = (uint8_t)value;
    }
    return 0;
}

void tn_grant_key_write(const uint8_t key[TN_GRANT_KEY], char text[TN_GRANT_KEY_TEXT])
{
    write_hex(key, TN_GRANT_KEY, text);
}

static void mac_of(const uint8_t key[TN_GRANT_KEY], const char *text, char out[MAC_TEXT + 1])
{
    uint8_t mac[EVP_MAX_MD_SIZE];
    unsigned length = 0;

    if (HMAC(EVP_sha256(), key, TN_GRANT_KEY, (const uint8_t *)text, strlen(text), mac, &length) == NULL ||
        length != MAC)
        tn_fatal(3, "HMAC-SHA256 does not work");
    write_hex(mac, MAC, out);
}

char *tn_grant_sign(const uint8_t key[TN_GRANT_KEY], const cJSON *claims)
{
    auto_free char *text = tn_json_print(claims);
    char mac[MAC_TEXT + 1];

    mac_of(key, text, mac);
    return tn_fs_path("%s.%s", mac, text);
}

cJSON *tn_grant_open(const uint8_t key[TN_GRANT_KEY], const char *text, struct tn_err *err)
{
    char mac[MAC_TEXT + 1];

    if (strnlen(text, MAC_TEXT + 1) == MAC_TEXT + 1 && text[MAC_TEXT] == '.') {
        mac_of(key, text + MAC_TEXT + 1, mac);
        if (CRYPTO_memcmp(mac, text, MAC_TEXT) == 0)
            return tn_json_parse(text + MAC_TEXT + 1, strlen(text + MAC_TEXT + 1), "a grant", err);
    }
    tn_err_set(err, TN_ERR_CONFLICT, "the grant is none of this installation's scheduler");
    return NULL;
}
