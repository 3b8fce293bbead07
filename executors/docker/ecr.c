#include "executors/docker/ecr.h"

#include "core/lib/buf.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "executors/docker/http.h"
#include "executors/docker/sigv4.h"
#include "executors/docker/stream.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TARGET "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
#define TYPE "application/x-amz-json-1.1"

enum {
    DEADLINE_MS = 20000,
    ANSWER_MAX = 65536,
    CA_MAX = 4 << 20,
    ACCOUNT_DIGITS = 12,
    PORT_HTTPS = 443,
    PORT_HTTP = 80,
};

struct tn_ecr_call {
    struct tn_http *http; /* owned */
    struct tn_engine_tls tls;
    struct event *later; /* owned; the end is told from it, outside the client's callbacks */
    char endpoint[200];
    struct tn_buf answer; /* owned; a secret */
    struct tn_credentials credentials;
    bool passes;
    struct tn_err err;
    tn_ecr_done *done;
    void *arg;
};

/* ---- names ---- */

bool tn_ecr_host_parse(const char *registry, struct tn_ecr_host *host)
{
    static const char *const services[] = {".dkr.ecr.", ".dkr.ecr-fips."};
    static const char *const clouds[] = {"amazonaws.com", "amazonaws.com.cn"};
    const char *service = NULL;
    const char *rest = registry + ACCOUNT_DIGITS;
    size_t region;

    memset(host, 0, sizeof(*host));
    if (strspn(registry, "0123456789") != ACCOUNT_DIGITS)
        return false;
    for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++)
        if (strncmp(rest, services[i], strlen(services[i])) == 0)
            service = services[i];
    if (service == NULL)
        return false;
    rest += strlen(service);
    region = strspn(rest, "abcdefghijklmnopqrstuvwxyz0123456789-");
    if (region == 0 || region >= sizeof(host->region) || rest[region] != '.')
        return false;
    for (size_t i = 0; i < sizeof(clouds) / sizeof(clouds[0]); i++) {
        if (strcmp(rest + region + 1, clouds[i]) != 0)
            continue;
        snprintf(host->account, sizeof(host->account), "%.12s", registry);
        snprintf(host->region, sizeof(host->region), "%.*s", (int)region, rest);
        snprintf(host->endpoint, sizeof(host->endpoint), "https://%s.%s.%s",
                 service == services[0] ? "api.ecr" : "ecr-fips", host->region, clouds[i]);
        return true;
    }
    return false;
}

static int endpoint_parse(const char *endpoint, struct tn_engine_address *address, bool *tls, struct tn_err *err)
{
    const char *host = strstr(endpoint, "://");
    size_t len;
    char *end;

    memset(address, 0, sizeof(*address));
    *tls = strncmp(endpoint, "https://", 8) == 0;
    host = host != NULL && (*tls || strncmp(endpoint, "http://", 7) == 0) ? host + 3 : "";
    len = strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-");
    if (len == 0 || len >= sizeof(address->host) || strlen(endpoint) >= sizeof(address->text))
        return tn_err_set(err, TN_ERR_CONFIG,
                          "docker.ecr_endpoint is \"%.100s\"; expected https://HOST, with or without a port", endpoint);
    snprintf(address->text, sizeof(address->text), "%s", endpoint);
    snprintf(address->host, sizeof(address->host), "%.*s", (int)len, host);
    address->setting = "docker.ecr_endpoint";
    address->loopback = strcmp(address->host, "localhost") == 0 || strncmp(address->host, "127.", 4) == 0;
    address->port = *tls ? PORT_HTTPS : PORT_HTTP;
    if (host[len] == ':') {
        address->port = (int)strtol(host + len + 1, &end, 10);
        len = (size_t)(end - host);
    }
    if (address->port < 1 || address->port > 65535 || strcmp(host + len + (host[len] == '/'), "") != 0)
        return tn_err_set(err, TN_ERR_CONFIG,
                          "docker.ecr_endpoint is \"%.100s\"; expected nothing but a port (1 to 65535) behind the host",
                          endpoint);
    if (!*tls && !address->loopback)
        return tn_err_set(err, TN_ERR_CONFIG,
                          "docker.ecr_endpoint is \"%.100s\": without TLS the token could be read on its way; expected "
                          "https://",
                          endpoint);
    return 0;
}

int tn_ecr_endpoint_check(const char *endpoint, uint16_t *port, struct tn_err *err)
{
    struct tn_engine_address address;
    bool tls;

    if (endpoint_parse(endpoint, &address, &tls, err) != 0)
        return -1;
    *port = (uint16_t)address.port;
    return 0;
}

/* ---- the answer ---- */

static int refused(const char *endpoint, int status, const cJSON *json, bool *passes, struct tn_err *err)
{
    const char *type = tn_json_string(json, "__type", "");
    const char *hash = strrchr(type, '#');
    char words[300];

    tn_docker_text_copy(words, sizeof(words), tn_json_string(json, "message", tn_json_string(json, "Message", "")));
    type = hash != NULL ? hash + 1 : type;
    *passes =
        status >= 500 || status == 429 || strstr(type, "Throttling") != NULL || strstr(type, "TooManyRequests") != NULL;
    if (*passes)
        return tn_err_set(err, TN_ERR_UNAVAILABLE, "AWS at %s failed: HTTP %d: %.80s: %s", endpoint, status, type,
                          words);
    return tn_err_set(err, TN_ERR_CONFIG,
                      "AWS at %s refuses the keys of `aws_auth`: HTTP %d: %.80s: %s; check aws_access_key_id and "
                      "aws_secret_access_key, and that they allow ecr:GetAuthorizationToken",
                      endpoint, status, type, words);
}

/* "AWS:password" in base64. */
static int take_token(const char *token, struct tn_credentials *credentials)
{
    size_t len = strlen(token);
    unsigned char *plain = malloc(len + 1);
    int got;
    char *colon;
    int rc = -1;

    if (plain == NULL)
        tn_fatal(3, "out of memory: a token");
    got = len > 0 && len % 4 == 0 ? EVP_DecodeBlock(plain, (const unsigned char *)token, (int)len) : -1;
    if (got > 0) {
        got -= (token[len - 1] == '=') + (len > 1 && token[len - 2] == '=');
        plain[got] = '\0';
        colon = strchr((char *)plain, ':');
        if (colon != NULL && colon != (char *)plain && colon[1] != '\0' && strlen((char *)plain) == (size_t)got) {
            *colon = '\0';
            credentials->username = strdup((char *)plain);
            credentials->password = strdup(colon + 1);
            rc = credentials->username != NULL && credentials->password != NULL ? 0 : -1;
        }
        OPENSSL_cleanse(plain, len);
    }
    free(plain);
    return rc;
}

int tn_ecr_answer(const char *endpoint, int status, const char *body, size_t len, struct tn_credentials *credentials,
                  bool *passes, struct tn_err *err)
{
    auto_json cJSON *json = cJSON_ParseWithLength(body, len);
    const cJSON *first = cJSON_GetArrayItem(tn_json_get(json, "authorizationData"), 0);
    cJSON *token = cJSON_GetObjectItemCaseSensitive(first, "authorizationToken");
    int rc;

    memset(credentials, 0, sizeof(*credentials));
    *passes = false;
    if (status < 200 || status >= 300)
        return refused(endpoint, status, json, passes, err);
    if (!cJSON_IsString(token))
        return tn_err_set(err, TN_ERR_PROTOCOL,
                          "what answers at %s is not AWS: expected JSON with an authorizationToken; check "
                          "docker.ecr_endpoint",
                          endpoint);
    rc = take_token(token->valuestring, credentials);
    OPENSSL_cleanse(token->valuestring, strlen(token->valuestring));
    if (rc != 0) {
        tn_credentials_clear(credentials);
        return tn_err_set(err, TN_ERR_PROTOCOL, "the token from %s is not NAME:PASSWORD in base64", endpoint);
    }
    snprintf(credentials->whose, sizeof(credentials->whose), "user \"%.50s\" (`aws_auth` in the config)",
             credentials->username);
    return 0;
}

/* ---- the request ---- */

void tn_ecr_cancel(struct tn_ecr_call *call)
{
    tn_http_free(call->http);
    tn_engine_tls_free(&call->tls);
    if (call->later != NULL)
        event_free(call->later);
    if (call->answer.data != NULL)
        OPENSSL_cleanse(call->answer.data, call->answer.size);
    tn_buf_free(&call->answer);
    tn_credentials_clear(&call->credentials);
    free(call);
}

static void on_later(evutil_socket_t fd, short what, void *arg)
{
    struct tn_ecr_call *call = arg;
    struct tn_credentials credentials = call->credentials;
    struct tn_err err = call->err;
    tn_ecr_done *done = call->done;
    bool passes = call->passes;
    void *to = call->arg;

    memset(&call->credentials, 0, sizeof(call->credentials)); /* handed over */
    tn_ecr_cancel(call);
    done(&credentials, err.code != TN_OK ? &err : NULL, passes, to);
}

static int on_bytes(int status, const char *bytes, size_t len, void *arg)
{
    struct tn_ecr_call *call = arg;

    if (call->answer.len + len > ANSWER_MAX)
        return tn_err_set(&call->err, TN_ERR_LIMIT, "the answer of %s is larger than %d bytes", call->endpoint,
                          ANSWER_MAX);
    tn_buf_add(&call->answer, bytes, len);
    return 0;
}

static void on_done(const struct tn_http_result *result, void *arg)
{
    struct tn_ecr_call *call = arg;
    struct timeval now = {0, 0};

    if (result->end == TN_HTTP_ANSWERED) {
        if (tn_ecr_answer(call->endpoint, result->status, call->answer.data != NULL ? call->answer.data : "",
                          call->answer.len, &call->credentials, &call->passes, &call->err) != 0)
            tn_debug("%s", call->err.text);
    } else if (call->err.code == TN_OK) {
        call->passes = result->end != TN_HTTP_NO_TRUST;
        tn_err_set(&call->err, TN_ERR_UNAVAILABLE,
                   "AWS at %s cannot be asked for a token: %s; check that this host reaches it, or set "
                   "docker.ecr_endpoint in tenon.yaml",
                   call->endpoint, result->sys != 0 ? strerror(result->sys) : result->detail);
    }
    evtimer_add(call->later, &now);
}

static void send_request(struct tn_ecr_call *call, const struct tn_ecr_request *request, const char *host)
{
    static const char body[] = "{}";
    time_t now = time(NULL);
    char date[TN_SIGV4_DATE];
    const struct tn_sigv4_header signed_headers[] = {
        {"content-type", TYPE}, {"host", host}, {"x-amz-date", date}, {"x-amz-target", TARGET}};
    const struct tn_sigv4 sign = {.method = "POST",
                                  .path = "/",
                                  .headers = signed_headers,
                                  .n_headers = sizeof(signed_headers) / sizeof(signed_headers[0]),
                                  .body = body,
                                  .body_len = sizeof(body) - 1,
                                  .region = request->host.region,
                                  .service = "ecr",
                                  .key_id = request->key_id,
                                  .secret = request->secret,
                                  .when = now};
    auto_free char *authorization = NULL;
    auto_free char *date_line = NULL;
    auto_free char *host_line = tn_fs_path("Host: %s", host);

    tn_sigv4_date(now, date);
    authorization = tn_sigv4_authorization(&sign);
    date_line = tn_fs_path("X-Amz-Date: %s", date);
    {
        auto_free char *line = tn_fs_path("Authorization: %s", authorization);
        const char *const more[] = {host_line, date_line, line, NULL};

        (void)tn_http_start(call->http, &(struct tn_http_request){.method = "POST",
                                                                  .path = "/",
                                                                  .content_type = TYPE,
                                                                  .header = "X-Amz-Target: " TARGET,
                                                                  .more = more,
                                                                  .body = body,
                                                                  .body_len = sizeof(body) - 1,
                                                                  .deadline_ms = DEADLINE_MS,
                                                                  .on_bytes = on_bytes,
                                                                  .on_done = on_done,
                                                                  .arg = call});
    }
}

struct tn_ecr_call *tn_ecr_ask(struct event_base *base, const struct tn_ecr_request *request, tn_ecr_done *done,
                               void *arg, struct tn_err *err)
{
    const char *endpoint = request->endpoint[0] != '\0' ? request->endpoint : request->host.endpoint;
    struct tn_ecr_call *call = calloc(1, sizeof(*call));
    struct tn_engine_address address;
    char host[sizeof(address.host) + 8];

    if (call == NULL || (call->later = evtimer_new(base, on_later, call)) == NULL)
        tn_fatal(3, "out of memory: a request to AWS");
    call->done = done;
    call->arg = arg;
    snprintf(call->endpoint, sizeof(call->endpoint), "%s", endpoint);
    if (endpoint_parse(endpoint, &address, &call->tls.on, err) == 0 &&
        (!call->tls.on || tn_fs_read(TN_ECR_CA, CA_MAX, &call->tls.ca, err) == 0))
        call->http = tn_http_new(base, &address, &call->tls, err);
    if (call->http == NULL) {
        tn_ecr_cancel(call);
        return NULL;
    }
    snprintf(host, sizeof(host), "%s", address.host);
    if (address.port != (call->tls.on ? PORT_HTTPS : PORT_HTTP))
        snprintf(host, sizeof(host), "%s:%d", address.host, address.port);
    send_request(call, request, host);
    return call;
}
