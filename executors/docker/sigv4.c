#include "executors/docker/sigv4.h"

#include "core/lib/buf.h"
#include "core/lib/log.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

enum { HASH = 32, HEX = 2 * HASH + 1 };

static void to_hex(const unsigned char hash[HASH], char text[HEX])
{
    for (size_t i = 0; i < HASH; i++)
        snprintf(text + 2 * i, 3, "%02x", hash[i]);
}

static void hash_hex(const void *bytes, size_t len, char text[HEX])
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned hash_len;

    if (EVP_Digest(bytes != NULL ? bytes : "", len, hash, &hash_len, EVP_sha256(), NULL) != 1)
        tn_fatal(3, "libcrypto has no SHA-256");
    to_hex(hash, text);
}

static void mac(const void *key, size_t key_len, const char *text, unsigned char out[HASH])
{
    unsigned char result[EVP_MAX_MD_SIZE];
    unsigned len;

    if (HMAC(EVP_sha256(), key, (int)key_len, (const unsigned char *)text, strlen(text), result, &len) == NULL)
        tn_fatal(3, "libcrypto has no SHA-256");
    memcpy(out, result, HASH);
    OPENSSL_cleanse(result, sizeof(result));
}

void tn_sigv4_date(time_t when, char date[TN_SIGV4_DATE])
{
    struct tm utc;

    gmtime_r(&when, &utc);
    strftime(date, TN_SIGV4_DATE, "%Y%m%dT%H%M%SZ", &utc);
}

/* The names of all headers, "a;b;c". */
static void add_names(const struct tn_sigv4 *request, struct tn_buf *out)
{
    for (size_t i = 0; i < request->n_headers; i++)
        tn_buf_addf(out, "%s%s", i > 0 ? ";" : "", request->headers[i].name);
}

static void canonical_hash(const struct tn_sigv4 *request, char text[HEX])
{
    auto_buf struct tn_buf canonical = TN_BUF_INIT;
    char body[HEX];

    hash_hex(request->body, request->body_len, body);
    tn_buf_addf(&canonical, "%s\n%s\n\n", request->method, request->path);
    for (size_t i = 0; i < request->n_headers; i++)
        tn_buf_addf(&canonical, "%s:%s\n", request->headers[i].name, request->headers[i].value);
    tn_buf_adds(&canonical, "\n");
    add_names(request, &canonical);
    tn_buf_addf(&canonical, "\n%s", body);
    hash_hex(canonical.data, canonical.len, text);
}

static void signing_key(const struct tn_sigv4 *request, const char *day, unsigned char key[HASH])
{
    auto_buf struct tn_buf first = TN_BUF_INIT;

    tn_buf_addf(&first, "AWS4%s", request->secret);
    mac(first.data, first.len, day, key);
    OPENSSL_cleanse(first.data, first.len);
    mac(key, HASH, request->region, key);
    mac(key, HASH, request->service, key);
    mac(key, HASH, "aws4_request", key);
}

char *tn_sigv4_authorization(const struct tn_sigv4 *request)
{
    auto_buf struct tn_buf to_sign = TN_BUF_INIT;
    auto_buf struct tn_buf names = TN_BUF_INIT;
    struct tn_buf out = TN_BUF_INIT;
    unsigned char key[HASH];
    char date[TN_SIGV4_DATE];
    char day[9];
    char hash[HEX];
    char signature[HEX];

    tn_sigv4_date(request->when, date);
    snprintf(day, sizeof(day), "%.8s", date);
    canonical_hash(request, hash);
    tn_buf_addf(&to_sign, "AWS4-HMAC-SHA256\n%s\n%s/%s/%s/aws4_request\n%s", date, day, request->region,
                request->service, hash);
    signing_key(request, day, key);
    mac(key, HASH, to_sign.data, key);
    to_hex(key, signature);
    OPENSSL_cleanse(key, sizeof(key));
    add_names(request, &names);
    tn_buf_addf(&out, "AWS4-HMAC-SHA256 Credential=%s/%s/%s/%s/aws4_request, SignedHeaders=%s, Signature=%s",
                request->key_id, day, request->region, request->service, names.data != NULL ? names.data : "",
                signature);
    return tn_buf_steal(&out);
}
