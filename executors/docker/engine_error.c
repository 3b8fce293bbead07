#include "executors/docker/engine_error.h"

#include "core/lib/permit.h"
#include "executors/docker/stream.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MESSAGE_MAX 500 /* bytes of the engine's words that are shown */
#define PATH_MAX_SHOWN 200

#define ADVICE_NO_ENGINE "start it (systemctl start docker), set DOCKER_HOST, or use --executor docker=machine"

/* What is known about an engine's words, first match wins. Fragments are those of moby's own error texts. */
static const struct {
    int status; /* 0 for any */
    const char *fragment;
    const char *advice;
} known[] = {
    {409, "is already in use", "remove the container that has the name (docker rm -f), or use it"},
    {404, "o such image", "pull or load it into this engine first, or check its name"},
    {404, "o such container", "it was removed by somebody else"},
    {404, "o such network", "the engine was started without that network; check its --bridge option"},
    {0, "HTTP request to an HTTPS server",
     "the engine demands TLS: set docker.tls (ca, certificate, key), or DOCKER_TLS_VERIFY and DOCKER_CERT_PATH"},
    {0, "no space left on device", "free space in the engine's data folder (docker system df, docker system prune)"},
    {0, "is too new", "the engine was replaced by an older one; try again"},
    {0, "is too old", "the engine was replaced by a newer one; try again"},
    {0, "CPU CFS", "the engine's kernel cannot limit CPUs"},
    {0, "exec format error", "the image is of another architecture than this host"},
    {0, "unable to find user", "the image has no such user; check \"user\" in the config"},
    {0, "executable file not found",
     "the image has no such program; check \"entrypoint\" and \"command\" in the config"},
};

static const char *advice_for(int status, const char *message)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if ((known[i].status == 0 || known[i].status == status) && strstr(message, known[i].fragment) != NULL)
            return known[i].advice;
    return NULL;
}

static void add_advice(struct tn_err *err, const char *advice)
{
    size_t used = strlen(err->text);

    if (advice != NULL)
        snprintf(err->text + used, sizeof(err->text) - used, "; %s", advice);
}

static enum tn_err_code code_of(int status)
{
    if (status == 400)
        return TN_ERR_CONFIG;
    if (status == 404)
        return TN_ERR_NOT_FOUND;
    if (status == 409)
        return TN_ERR_CONFLICT;
    return status >= 400 ? TN_ERR_UNAVAILABLE : TN_ERR_PROTOCOL;
}

static void no_connect(const struct tn_engine_request_name *name, const struct tn_http_result *result,
                       struct tn_err *err)
{
    static const char scheme[] = "unix://";
    char why[TN_PERMIT_TEXT] = "";

    if (result->sys == EACCES && strncmp(name->address, scheme, strlen(scheme)) == 0)
        tn_permit_connect(name->address + strlen(scheme), why, sizeof(why));
    if (result->sys == EACCES || result->sys == EPERM)
        tn_err_set(err, TN_ERR_UNAVAILABLE,
                   "the Docker Engine at %s cannot be reached: %s; %s, set DOCKER_HOST, or use --executor "
                   "docker=machine",
                   name->address, strerror(result->sys),
                   why[0] != '\0' ? why : "add the user to group docker (usermod -aG docker NAME, then log in again)");
    else
        tn_err_set(err, TN_ERR_UNAVAILABLE, "no Docker Engine answers at %s: %s; " ADVICE_NO_ENGINE, name->address,
                   result->sys != 0 ? strerror(result->sys) : result->detail);
    if (err != NULL)
        err->sys = result->sys;
}

/* An engine that refuses our certificate says so and closes the connection; which of the two is seen first is chance.
 */
#define CLOSED "it closed the connection, as it does when it refuses our certificate, or demands one and none is set"
#define ADVICE_CLIENT                                                                                                  \
    "use a certificate for clients that the CA of the engine's --tlscacert signed (docker.tls.certificate and "        \
    "docker.tls.key, or cert.pem and key.pem in DOCKER_CERT_PATH)"

/* What OpenSSL and libcurl say about certificates, first match wins. */
static const struct {
    const char *fragment;
    const char *what;
    const char *advice;
} untrusted[] = {
    {"certificate has expired", "its certificate has expired", "renew it"},
    {"certificate is not yet valid", "its certificate is not valid yet", "check both hosts' clocks"},
    {"does not match target host name", "its certificate is for another host",
     "make one whose subjectAltName has this name or address, or use a name that it has"},
    {"no alternative certificate subject name matches", "its certificate is for another host",
     "make one whose subjectAltName has this name or address, or use a name that it has"},
    {"certificate required", "it demands a certificate of ours, and none is set", ADVICE_CLIENT},
    {"alert unknown ca", "it refuses our certificate, which another CA signed", ADVICE_CLIENT},
    {"alert bad certificate", "it refuses our certificate, or demands one and none is set", ADVICE_CLIENT},
    {"alert certificate expired", "it refuses our certificate, which has expired", "renew it"},
    {"self-signed certificate", "its certificate was signed by a CA that is not known here",
     "set docker.tls.ca, or ca.pem in DOCKER_CERT_PATH, to the CA that signed it"},
    {"unable to get local issuer certificate", "its certificate was signed by a CA that is not known here",
     "set docker.tls.ca, or ca.pem in DOCKER_CERT_PATH, to the CA that signed it"},
    {"getpeername() failed", CLOSED, ADVICE_CLIENT},
    {"Connection reset by peer", CLOSED, ADVICE_CLIENT},
    {"Broken pipe", CLOSED, ADVICE_CLIENT},
    {"Empty reply from server", CLOSED, ADVICE_CLIENT},
    {"unexpected eof", CLOSED, ADVICE_CLIENT},
    {"wrong version number", "it does not speak TLS", "start it with --tlsverify, or leave TLS out on loopback"},
    {"could not load PEM client certificate", "our own certificate cannot be used",
     "expected one in PEM, with the key that belongs to it and has no passphrase"},
    {"unable to set private key", "our own key cannot be used",
     "expected one in PEM, without a passphrase, that belongs to the certificate"},
};

static void no_trust(const struct tn_engine_request_name *name, const struct tn_http_result *result, struct tn_err *err)
{
    for (size_t i = 0; i < sizeof(untrusted) / sizeof(untrusted[0]); i++)
        if (strstr(result->detail, untrusted[i].fragment) != NULL) {
            tn_err_set(err, TN_ERR_UNAVAILABLE, "the Docker Engine at %s cannot be used: %s (%.200s); %s",
                       name->address, untrusted[i].what, result->detail, untrusted[i].advice);
            return;
        }
    tn_err_set(err, TN_ERR_UNAVAILABLE,
               "the Docker Engine at %s cannot be used: TLS failed: %.300s; check docker.tls (ca, certificate, key) or "
               "DOCKER_CERT_PATH, and the engine's --tls options",
               name->address, result->detail);
}

void tn_engine_error_transport(const struct tn_engine_request_name *name, const struct tn_http_result *result,
                               struct tn_err *err)
{
    switch (result->end) {
    case TN_HTTP_NO_CONNECT:
        no_connect(name, result, err);
        break;
    case TN_HTTP_NO_TRUST:
        no_trust(name, result, err);
        break;
    case TN_HTTP_TIMEOUT:
        tn_err_set(err, TN_ERR_UNAVAILABLE,
                   "the Docker Engine at %s did not finish %s %.*s within %u.%03u s; it may be overloaded or hang "
                   "(journalctl -u docker)",
                   name->address, name->method, PATH_MAX_SHOWN, name->path, name->deadline_ms / 1000,
                   name->deadline_ms % 1000);
        break;
    case TN_HTTP_BROKEN:
    case TN_HTTP_STOPPED:
    case TN_HTTP_ANSWERED:
        tn_err_set(err, TN_ERR_UNAVAILABLE,
                   "the Docker Engine at %s broke off the answer to %s %.*s: %s; it was stopped, or something else "
                   "answers at that address",
                   name->address, name->method, PATH_MAX_SHOWN, name->path, result->detail);
        break;
    }
}

void tn_engine_error_status(const struct tn_engine_request_name *name, int status, const cJSON *json, const char *text,
                            struct tn_err *err)
{
    const char *words = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "message"));
    char message[MESSAGE_MAX];

    if (err == NULL)
        return;
    tn_docker_text_copy(message, sizeof(message), words != NULL ? words : text != NULL ? text : "");
    if (message[0] == '\0')
        snprintf(message, sizeof(message), "no text");
    if (name->is_pull && name->image != NULL) {
        tn_err_set(err, code_of(status), "%s", message);
        return;
    }
    tn_err_set(err, code_of(status), "Docker Engine at %s: %s %.*s: HTTP %d: %s", name->address, name->method,
               PATH_MAX_SHOWN, name->path, status, message);
    add_advice(err, advice_for(status, message));
}

void tn_engine_error_stream(const struct tn_engine_request_name *name, const struct tn_err *decoder, struct tn_err *err)
{
    char message[MESSAGE_MAX];

    if (err == NULL)
        return;
    tn_docker_text_copy(message, sizeof(message), decoder->text);
    if (name->is_pull && name->image != NULL) {
        tn_err_set(err, decoder->code, "%s", message);
        return;
    }
    tn_err_set(err, decoder->code, "Docker Engine at %s: %s %.*s: %s", name->address, name->method, PATH_MAX_SHOWN,
               name->path, message);
    add_advice(err, advice_for(200, message));
}
