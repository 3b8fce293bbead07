/* Where a Docker Engine listens and how it is spoken to, as `docker.engine` of tenon.yaml and DOCKER_HOST say it:
 *
 *     unix:///PATH          a socket of this host, or one that ssh forwards
 *     tcp://HOST[:PORT]     with TLS (port 2376 by default); without it (2375) only on this host's loopback, because
 *                           whoever reaches an engine without TLS is root on its host
 *
 * The address itself is parsed purely; tn_engine_tls_read() reads the files and is called before Landlock holds. */
#ifndef TN_EXECUTORS_DOCKER_ADDRESS_H
#define TN_EXECUTORS_DOCKER_ADDRESS_H

#include "core/lib/buf.h"
#include "core/lib/err.h"

#include <stdbool.h>

#define TN_ENGINE_DEFAULT_HOST "unix:///var/run/docker.sock"

struct tn_engine_address {
    char text[512];      /* as it was given: what messages name */
    const char *setting; /* where it was given: "docker.engine" or "DOCKER_HOST"; a string constant */
    char socket[108];    /* path of the unix socket; "" with TCP */
    char host[256];      /* with TCP; an IPv6 address without its brackets */
    int port;            /* with TCP; 0: the default of the way in which it is spoken to */
    bool loopback;       /* `host` is this host's own loopback, by name or number */
};

/* Parses `text` (NULL or "": TN_ENGINE_DEFAULT_HOST), which stood in `setting`. Fails with TN_ERR_USAGE and what to do
 * instead: ssh:// is refused with the command that forwards the socket. */
int tn_engine_address_parse(struct tn_engine_address *address, const char *text, const char *setting,
                            struct tn_err *err) TN_MUST_CHECK;

/* What TLS needs, in PEM. Without a CA of one's own the system's are believed. Verification of certificate and host is
 * never switched off. */
struct tn_engine_tls {
    bool on;
    struct tn_buf ca;          /* owned; what the engine's certificate must descend from */
    struct tn_buf certificate; /* owned; ours, empty: none */
    struct tn_buf key;         /* owned; secret */
    char files[300];           /* where they came from, for messages */
};

/* Where TLS's files are; each member may be NULL or "". The first three come from docker.tls; when all are empty, the
 * last three from the environment: DOCKER_TLS_VERIFY or DOCKER_CERT_PATH switch TLS on, with ca.pem, cert.pem and
 * key.pem in DOCKER_CERT_PATH, by default ~/.docker. */
struct tn_engine_tls_paths {
    const char *ca;
    const char *certificate;
    const char *key;
    const char *verify;    /* DOCKER_TLS_VERIFY */
    const char *cert_path; /* DOCKER_CERT_PATH */
    const char *home;
};

/* Reads the files for `address`; TLS stays off for a unix socket. Blocks for as long as the file system does. Fails
 * with TN_ERR_USAGE when the address must not be used without TLS, or names the file that is missing or is no PEM.
 * tn_engine_tls_free() afterwards in either case. */
int tn_engine_tls_read(struct tn_engine_tls *tls, const struct tn_engine_address *address,
                       const struct tn_engine_tls_paths *paths, struct tn_err *err) TN_MUST_CHECK;
/* Wipes the key. */
void tn_engine_tls_free(struct tn_engine_tls *tls);

#endif
