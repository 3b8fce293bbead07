/* Puts SSH keys, their entries in the config and known hosts into ~/.ssh of the environment, without a shell there.
 *
 * The checkout's key is id_rsa, as jobs know it, whatever its type; further keys are id_rsa_<MD5 fingerprint> with a
 * `Host` entry each. What is there stays; putting a thing there twice does no more than once. OpenSSH takes the home
 * folder from the account and not from $HOME: where those differ (this host) the config names all files, and BASH_ENV
 * makes ssh, scp, sftp, rsync and git use it. */
#ifndef TN_SDK_SSH_FILES_H
#define TN_SDK_SSH_FILES_H

#include "executors/sdk/keyring.h"
#include "executors/sdk/tree.h"

struct tn_ssh_files {
    const struct tn_identity *identity; /* becomes id_rsa; NULL: none */
    const struct tn_identity *keys[TN_KEYRING_MAX];
    size_t key_count;
    struct tn_buf tar;
    void (*done)(struct tn_task *task);
};

/* Fills in what is said by `task->tree->ssh`, which the caller allocated and the tree state frees; calls `done`. */
void tn_ssh_files_put(struct tn_task *task);
void tn_ssh_files_free(struct tn_ssh_files *ssh);

/* "id_rsa_16 bytes in hexadecimal" */
const char *tn_ssh_files_name(const struct tn_identity *identity, char *out, size_t size);
/* The text in single quotes for a shell. The caller frees it. */
char *tn_shell_quoted(const char *text);

#endif
