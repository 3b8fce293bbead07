#include "executors/docker/address.h"

#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/permit.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PEM_MAX (1u << 20)
#define SYSTEM_CA "/etc/ssl/certs/ca-certificates.crt"

/* ---- the address ---- */

static const char *after(const char *text, const char *scheme)
{
    size_t len = strlen(scheme);

    return strncmp(text, scheme, len) == 0 ? text + len : NULL;
}

static int refuse_ssh(const struct tn_engine_address *address, const char *where, struct tn_err *err)
{
    char target[200];
    char port[16] = "";
    size_t len = strcspn(where, "/");
    const char *colon;

    snprintf(target, sizeof(target), "%.*s", (int)(len < 190 ? len : 190), where);
    colon = strrchr(target, ':');
    if (colon != NULL && colon[1] != '\0' && strspn(colon + 1, "0123456789") == strlen(colon + 1)) {
        snprintf(port, sizeof(port), "-p %.8s ", colon + 1);
        target[colon - target] = '\0';
    }
    return tn_err_set(err, TN_ERR_USAGE,
                      "%s is \"%.200s\": executors start no programs, ssh neither; forward the engine's socket, ssh -N "
                      "%s-L \"$XDG_RUNTIME_DIR/docker-remote.sock:/var/run/docker.sock\" %s, and set it to "
                      "unix:// and that path, or use tcp:// with TLS",
                      address->setting, address->text, port, target[0] != '\0' ? target : "HOST");
}

static bool is_loopback(const char *host)
{
    struct in_addr v4;

    if (strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0)
        return true;
    return inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127;
}

static bool is_host(const char *host, bool numeric)
{
    struct in6_addr v6;

    if (numeric)
        return inet_pton(AF_INET6, host, &v6) == 1;
    for (const char *at = host; *at != '\0'; at++)
        if (!isalnum((unsigned char)*at) && strchr("-._", *at) == NULL)
            return false;
    return host[0] != '\0';
}

/* HOST[:PORT] or [IPV6][:PORT], perhaps with an empty path. */
static int parse_tcp(struct tn_engine_address *address, const char *where, struct tn_err *err)
{
    bool bracket = where[0] == '[';
    const char *from = bracket ? where + 1 : where;
    size_t len = strcspn(from, bracket ? "]" : ":/");
    const char *rest = from + len;
    char *end = NULL;
    long port = 0;
    bool good = len < sizeof(address->host) && (!bracket || *rest++ == ']');

    if (good) {
        memcpy(address->host, from, len);
        address->host[len] = '\0';
        good = is_host(address->host, bracket);
    }
    if (good && *rest == ':') {
        port = strtol(rest + 1, &end, 10);
        good = isdigit((unsigned char)rest[1]) && port >= 1 && port <= 65535;
        rest = end;
    }
    if (!good || (strcmp(rest, "") != 0 && strcmp(rest, "/") != 0))
        return tn_err_set(err, TN_ERR_USAGE,
                          "%s is \"%.200s\": expected tcp://HOST or tcp://HOST:PORT with a name or an address "
                          "([::1] for IPv6) and a port of 1 to 65535",
                          address->setting, address->text);
    address->port = (int)port;
    address->loopback = is_loopback(address->host);
    return 0;
}

int tn_engine_address_parse(struct tn_engine_address *address, const char *text, const char *setting,
                            struct tn_err *err)
{
    const char *where;

    memset(address, 0, sizeof(*address));
    address->setting = setting;
    if (text == NULL || text[0] == '\0')
        text = TN_ENGINE_DEFAULT_HOST;
    snprintf(address->text, sizeof(address->text), "%s", text);
    if ((where = after(text, "unix://")) != NULL) {
        if (where[0] != '/' || strlen(where) >= sizeof(address->socket))
            return tn_err_set(err, TN_ERR_USAGE,
                              "%s is \"%.200s\": the socket's path is not absolute or longer than %zu bytes; expected "
                              "something like " TN_ENGINE_DEFAULT_HOST,
                              setting, address->text, sizeof(address->socket) - 1);
        memcpy(address->socket, where, strlen(where));
        return 0;
    }
    if (strlen(text) < sizeof(address->text) && (where = after(text, "tcp://")) != NULL)
        return parse_tcp(address, where, err);
    if ((where = after(text, "ssh://")) != NULL)
        return refuse_ssh(address, where, err);
    return tn_err_set(
        err, TN_ERR_USAGE,
        "%s is \"%.200s\": expected unix:///PATH or tcp://HOST:PORT, something like " TN_ENGINE_DEFAULT_HOST
        " or tcp://build1:2376",
        setting, address->text);
}

/* ---- TLS's files ---- */

static bool given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static int read_pem(const char *path, const char *what, struct tn_buf *pem, struct tn_err *err)
{
    if (tn_fs_read(path, PEM_MAX, pem, err) != 0) {
        (void)tn_permit_add(err, path);
        return tn_err_wrap(err, "%s", what);
    }
    if (strlen(pem->data) != pem->len || strstr(pem->data, "-----BEGIN ") == NULL)
        return tn_err_set(err, TN_ERR_USAGE, "%s %s is no PEM file: expected a block that begins with \"-----BEGIN\"",
                          what, path);
    return 0;
}

static int read_pair(struct tn_engine_tls *tls, const char *certificate, const char *key, struct tn_err *err)
{
    if (read_pem(certificate, "the certificate for the Docker Engine", &tls->certificate, err) != 0)
        return -1;
    return read_pem(key, "the key for the Docker Engine", &tls->key, err);
}

static int read_settings(struct tn_engine_tls *tls, const struct tn_engine_tls_paths *paths, struct tn_err *err)
{
    if (given(paths->certificate) != given(paths->key))
        return tn_err_set(err, TN_ERR_USAGE,
                          "docker.tls names a %s without a %s: set both or none of docker.tls.certificate and "
                          "docker.tls.key",
                          given(paths->key) ? "key" : "certificate", given(paths->key) ? "certificate" : "key");
    snprintf(tls->files, sizeof(tls->files), "docker.tls");
    if (given(paths->certificate) && read_pair(tls, paths->certificate, paths->key, err) != 0)
        return -1;
    return read_pem(given(paths->ca) ? paths->ca : SYSTEM_CA, "the CA of the Docker Engine", &tls->ca, err);
}

/* The docker command's folder: ca.pem must be there, cert.pem and key.pem may be missing together. */
static int read_folder(struct tn_engine_tls *tls, const struct tn_engine_tls_paths *paths, struct tn_err *err)
{
    auto_free char *folder = given(paths->cert_path) ? tn_fs_path("%s", paths->cert_path)
                                                     : tn_fs_path("%s/.docker", given(paths->home) ? paths->home : "");
    auto_free char *ca = tn_fs_path("%s/ca.pem", folder);
    auto_free char *certificate = tn_fs_path("%s/cert.pem", folder);
    auto_free char *key = tn_fs_path("%s/key.pem", folder);

    snprintf(tls->files, sizeof(tls->files), "%s", folder);
    if (read_pem(ca, "the CA of the Docker Engine (DOCKER_CERT_PATH)", &tls->ca, err) != 0)
        return -1;
    if (access(certificate, F_OK) != 0 && access(key, F_OK) != 0)
        return 0;
    return read_pair(tls, certificate, key, err);
}

int tn_engine_tls_read(struct tn_engine_tls *tls, const struct tn_engine_address *address,
                       const struct tn_engine_tls_paths *paths, struct tn_err *err)
{
    bool settings = given(paths->ca) || given(paths->certificate) || given(paths->key);

    memset(tls, 0, sizeof(*tls));
    if (address->socket[0] != '\0')
        return 0;
    if (settings || given(paths->verify) || given(paths->cert_path)) {
        tls->on = true;
        return settings ? read_settings(tls, paths, err) : read_folder(tls, paths, err);
    }
    if (!address->loopback)
        return tn_err_set(err, TN_ERR_USAGE,
                          "%s is \"%.200s\" without TLS: whoever reaches such an engine is root on its host, so it is "
                          "used on loopback only; set docker.tls (ca, certificate, key) or DOCKER_TLS_VERIFY and "
                          "DOCKER_CERT_PATH, and start the engine with --tlsverify",
                          address->setting, address->text);
    return 0;
}

void tn_engine_tls_free(struct tn_engine_tls *tls)
{
    if (tls->key.data != NULL)
        explicit_bzero(tls->key.data, tls->key.len);
    tn_buf_free(&tls->ca);
    tn_buf_free(&tls->certificate);
    tn_buf_free(&tls->key);
    tls->on = false;
}
