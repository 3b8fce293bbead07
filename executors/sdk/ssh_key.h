/* What a private SSH key says of itself: its type, its public half and the fingerprints by which configs name it.
 *
 * Reads OpenSSH's own format (openssh-key-v1, PROTOCOL.key of OpenSSH) with a parser of ours, which looks at the public
 * part only, and PEM (PKCS #1, SEC 1, PKCS #8) with libcrypto. Pure; every length is checked before it is used. */
#ifndef TN_SSH_KEY_H
#define TN_SSH_KEY_H

#include "core/lib/err.h"

#include <stddef.h>

enum { TN_SSH_KEY_BYTES = 16 * 1024 }; /* of a key file */

struct tn_ssh_key {
    char type[40];   /* "ssh-ed25519" */
    char md5[48];    /* "16:27:ac:…" */
    char sha256[56]; /* "SHA256:…", without padding */
    char *line;      /* owned: type and base64, as in authorized_keys */
};

/* TN_ERR_CONFIG says what is wrong with the text: no key, a passphrase, a type that is not known. */
int tn_ssh_key_read(const char *text, size_t length, struct tn_ssh_key *key, struct tn_err *err) TN_MUST_CHECK;
void tn_ssh_key_free(struct tn_ssh_key *key);

#endif
