#include "executors/sdk/ssh_key.h"
#include "core/lib/buf.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const char begin_mark[] = "-----BEGIN OPENSSH PRIVATE KEY-----";
static const char end_mark[] = "-----END OPENSSH PRIVATE KEY-----";
static const char magic[] = "openssh-key-v1"; /* with its NUL */

static int has_passphrase(struct tn_err *err)
{
    return tn_err_set(err, TN_ERR_CONFIG,
                      "the key has a passphrase, which nobody can type in a job; remove it with `ssh-keygen -p`");
}

/* ---- SSH's own encoding (RFC 4251, section 5) ---- */

struct reader {
    const uint8_t *at;
    size_t left;
};

static bool read_u32(struct reader *reader, uint32_t *value)
{
    if (reader->left < 4)
        return false;
    *value =
        (uint32_t)reader->at[0] << 24 | (uint32_t)reader->at[1] << 16 | (uint32_t)reader->at[2] << 8 | reader->at[3];
    reader->at += 4;
    reader->left -= 4;
    return true;
}

static bool read_string(struct reader *reader, struct reader *string)
{
    uint32_t length;

    if (!read_u32(reader, &length) || length > reader->left)
        return false;
    *string = (struct reader){reader->at, length};
    reader->at += length;
    reader->left -= length;
    return true;
}

static bool is_text(const struct reader *string, const char *text)
{
    return string->left == strlen(text) && memcmp(string->at, text, string->left) == 0;
}

static void put_string(struct tn_buf *out, const void *bytes, size_t length)
{
    const uint8_t size[4] = {(uint8_t)(length >> 24), (uint8_t)(length >> 16), (uint8_t)(length >> 8), (uint8_t)length};

    tn_buf_add(out, size, 4);
    tn_buf_add(out, bytes, length);
}

static void put_number(struct tn_buf *out, const BIGNUM *number)
{
    size_t length = (size_t)BN_num_bytes(number);
    uint8_t *bytes = calloc(1, length + 1);

    if (bytes == NULL)
        return;
    BN_bn2bin(number, bytes + 1);
    /* A number whose first bit is set would be negative: a zero byte comes before it. */
    put_string(out, length > 0 && bytes[1] >= 0x80 ? bytes : bytes + 1,
               length > 0 && bytes[1] >= 0x80 ? length + 1 : length);
    free(bytes);
}

/* ---- openssh-key-v1 ---- */

static int base64_value(char letter)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = letter != '\0' ? strchr(letters, letter) : NULL;

    return at != NULL ? (int)(at - letters) : -1;
}

static bool base64_decode(const char *text, size_t length, struct tn_buf *out)
{
    uint32_t bits = 0;
    unsigned count = 0;
    size_t padding = 0;

    for (size_t i = 0; i < length; i++) {
        int value = base64_value(text[i]);
        uint8_t byte;

        if (strchr(" \t\r\n", text[i]) != NULL && text[i] != '\0')
            continue;
        if (text[i] == '=') {
            padding++;
            continue;
        }
        if (value < 0 || padding > 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        count += 6;
        if (count >= 8) {
            count -= 8;
            byte = (uint8_t)(bits >> count);
            tn_buf_add(out, &byte, 1);
        }
    }
    return padding <= 2;
}

static int read_openssh(const char *text, size_t length, struct tn_buf *blob, struct tn_err *err)
{
    const char *body = text + sizeof(begin_mark) - 1;
    const char *end = memmem(body, (size_t)(text + length - body), end_mark, sizeof(end_mark) - 1);
    auto_buf struct tn_buf bytes = TN_BUF_INIT;
    struct reader reader;
    struct reader cipher;
    struct reader kdf;
    struct reader options;
    struct reader public;
    uint32_t keys;

    if (end == NULL)
        return tn_err_set(err, TN_ERR_CONFIG, "the key is cut off: the line \"%s\" is missing", end_mark);
    if (!base64_decode(body, (size_t)(end - body), &bytes))
        return tn_err_set(err, TN_ERR_CONFIG, "the key is damaged: its body is not base64");
    reader = (struct reader){(const uint8_t *)bytes.data, bytes.len};
    if (reader.left < sizeof(magic) || memcmp(reader.at, magic, sizeof(magic)) != 0)
        return tn_err_set(err, TN_ERR_CONFIG, "the key is damaged: expected \"%s\" at its beginning", magic);
    reader.at += sizeof(magic);
    reader.left -= sizeof(magic);
    if (!read_string(&reader, &cipher) || !read_string(&reader, &kdf) || !read_string(&reader, &options) ||
        !read_u32(&reader, &keys) || !read_string(&reader, &public))
        return tn_err_set(err, TN_ERR_CONFIG, "the key is damaged: it ends in the middle of a field");
    if (keys != 1)
        return tn_err_set(err, TN_ERR_CONFIG, "expected one key, the file says %u", keys);
    if (!is_text(&cipher, "none"))
        return has_passphrase(err);
    tn_buf_add(blob, public.at, public.left);
    return 0;
}

/* ---- PEM ---- */

static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    return -1;
}

static bool put_rsa(const EVP_PKEY *key, struct tn_buf *blob)
{
    BIGNUM *e = NULL;
    BIGNUM *n = NULL;
    bool good = EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &e) == 1 &&
                EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &n) == 1;

    if (good) {
        put_string(blob, "ssh-rsa", 7);
        put_number(blob, e);
        put_number(blob, n);
    }
    BN_free(e);
    BN_free(n);
    return good;
}

static bool put_ec(const EVP_PKEY *key, struct tn_buf *blob)
{
    static const char *const curves[][2] = {
        {"prime256v1", "nistp256"}, {"secp384r1", "nistp384"}, {"secp521r1", "nistp521"}};
    char group[64];
    uint8_t point[256];
    size_t length;

    if (EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group), &length) != 1 ||
        EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point), &length) != 1)
        return false;
    for (size_t i = 0; i < sizeof(curves) / sizeof(curves[0]); i++) {
        char type[40];

        if (strcmp(group, curves[i][0]) != 0)
            continue;
        snprintf(type, sizeof(type), "ecdsa-sha2-%s", curves[i][1]);
        put_string(blob, type, strlen(type));
        put_string(blob, curves[i][1], strlen(curves[i][1]));
        put_string(blob, point, length);
        return true;
    }
    return false;
}

static bool put_ed25519(const EVP_PKEY *key, struct tn_buf *blob)
{
    uint8_t raw[32];
    size_t length = sizeof(raw);

    if (EVP_PKEY_get_raw_public_key(key, raw, &length) != 1)
        return false;
    put_string(blob, "ssh-ed25519", 11);
    put_string(blob, raw, length);
    return true;
}

static int read_pem(const char *text, size_t length, struct tn_buf *blob, struct tn_err *err)
{
    BIO *bio;
    EVP_PKEY *key;
    bool good = false;

    if (memmem(text, length, "ENCRYPTED", 9) != NULL)
        return has_passphrase(err);
    bio = BIO_new_mem_buf(text, (int)length);
    key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
    BIO_free(bio);
    ERR_clear_error();
    if (key == NULL)
        return tn_err_set(err, TN_ERR_CONFIG, "expected a private key in OpenSSH's format or in PEM");
    if (EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA)
        good = put_rsa(key, blob);
    else if (EVP_PKEY_get_base_id(key) == EVP_PKEY_EC)
        good = put_ec(key, blob);
    else if (EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519)
        good = put_ed25519(key, blob);
    EVP_PKEY_free(key);
    ERR_clear_error();
    if (!good)
        return tn_err_set(err, TN_ERR_CONFIG, "expected a key of type RSA, ECDSA (nistp256, 384, 521) or Ed25519");
    return 0;
}

/* ---- what is made of the public half ---- */

static int name_key(const struct tn_buf *blob, struct tn_ssh_key *key, struct tn_err *err)
{
    struct reader reader = {(const uint8_t *)blob->data, blob->len};
    struct reader type;
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned char text[2 * EVP_MAX_MD_SIZE];
    auto_free unsigned char *base64 = malloc(blob->len / 3 * 4 + 8);
    unsigned length;

    if (!read_string(&reader, &type) || type.left == 0 || type.left >= sizeof(key->type))
        return tn_err_set(err, TN_ERR_CONFIG, "the key is damaged: its public part has no type");
    for (size_t i = 0; i < type.left; i++)
        if (type.at[i] <= ' ' || type.at[i] > '~')
            return tn_err_set(err, TN_ERR_CONFIG, "the key is damaged: its type is not a word");
    if (base64 == NULL)
        return tn_err_set(err, TN_ERR_SYSTEM, "out of memory: a key");
    memcpy(key->type, type.at, type.left);
    if (EVP_Digest(blob->data, blob->len, hash, &length, EVP_sha256(), NULL) != 1)
        return tn_err_set(err, TN_ERR_SYSTEM, "libcrypto has no SHA-256");
    EVP_EncodeBlock(text, hash, (int)length);
    snprintf(key->sha256, sizeof(key->sha256), "SHA256:%.*s", (int)strcspn((char *)text, "="), (char *)text);
    /* Where rules forbid MD5 (FIPS) a key has no such name. */
    if (EVP_Digest(blob->data, blob->len, hash, &length, EVP_md5(), NULL) == 1)
        for (unsigned i = 0; i < length && i < 16; i++)
            snprintf(key->md5 + (size_t)3 * i, i < 15 ? 4 : 3, i < 15 ? "%02x:" : "%02x", hash[i]);
    EVP_EncodeBlock(base64, (const unsigned char *)blob->data, (int)blob->len);
    key->line = tn_fs_path("%s %s", key->type, (char *)base64);
    return 0;
}

int tn_ssh_key_read(const char *text, size_t length, struct tn_ssh_key *key, struct tn_err *err)
{
    auto_buf struct tn_buf blob = TN_BUF_INIT;
    const char *begin;
    int rc;

    memset(key, 0, sizeof(*key));
    if (length > TN_SSH_KEY_BYTES)
        return tn_err_set(err, TN_ERR_LIMIT, "a key of %zu bytes, at most %d are allowed", length, TN_SSH_KEY_BYTES);
    begin = memmem(text, length, begin_mark, sizeof(begin_mark) - 1);
    rc = begin != NULL ? read_openssh(begin, (size_t)(text + length - begin), &blob, err)
                       : read_pem(text, length, &blob, err);
    return rc == 0 ? name_key(&blob, key, err) : -1;
}

void tn_ssh_key_free(struct tn_ssh_key *key)
{
    free(key->line);
    memset(key, 0, sizeof(*key));
}
