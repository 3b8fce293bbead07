/* The SSH keys, tokens and known hosts of the settings (`checkout`), read once, before the process confines itself:
 * later it cannot. What is wrong with a file is no reason not to start: it is said when a step needs that file. */
#ifndef TN_KEYRING_H
#define TN_KEYRING_H

#include "core/lib/remote.h"
#include "executors/sdk/ssh_key.h"

#include <cjson/cJSON.h>

#include <stddef.h>

enum {
    TN_KEYRING_MAX = 64,            /* keys, and tokens */
    TN_TOKEN_BYTES = 4096,          /* of a token's file */
    TN_KNOWN_HOSTS_MAX = 96 * 1024, /* of the file of known hosts */
};

struct tn_identity {
    const char *host; /* borrowed from the settings; "*": every host */
    const char *file; /* borrowed from the settings */
    char *text;       /* owned: the key file; ends with a newline */
    struct tn_ssh_key key;
    char problem[600]; /* "" or why the key cannot be used */
};

struct tn_token {
    const char *host;
    const char *username;
    const char *file;
    char *text; /* owned: without the newline at its end */
    char problem[600];
};

struct tn_keyring {
    struct tn_identity keys[TN_KEYRING_MAX];
    size_t key_count;
    struct tn_token tokens[TN_KEYRING_MAX];
    size_t token_count;
    char *known_hosts;       /* owned: of the large hosting services, and of the settings */
    char known_problem[600]; /* why the settings' file of known hosts was not read */
};

/* `settings` is the service's; strings are borrowed from it. Problems are also logged. */
struct tn_keyring *tn_keyring_read(const cJSON *settings);
void tn_keyring_free(struct tn_keyring *keyring);

/* The first entry for that host, else the first for every host, else NULL. Those with a problem too. */
const struct tn_identity *tn_keyring_key(const struct tn_keyring *keyring, const struct tn_remote *remote);
const struct tn_token *tn_keyring_token(const struct tn_keyring *keyring, const struct tn_remote *remote);
/* The key with that fingerprint, in either form, or NULL. */
const struct tn_identity *tn_keyring_find(const struct tn_keyring *keyring, const char *fingerprint);
/* Adds what must not be seen in output: tokens, and the bodies of keys. */
void tn_keyring_masks(const struct tn_keyring *keyring, cJSON *masks);

#endif
