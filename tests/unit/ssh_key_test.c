/* SSH keys: fingerprints as ssh-keygen prints them, both file formats, and files that are no key. The files
 * have zeros in place of the private halves. PEM files are checked against ssh-keygen in tests/acceptance/checkout. */
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "executors/sdk/ssh_key.h"
#include "tests/unit/check.h"

#include <stdlib.h>
#include <string.h>

static struct tn_buf read_key(const char *name)
{
    auto_free char *path = tn_fs_path("%s/tests/fuzz/ssh_key/%s", TN_SOURCE_ROOT, name);
    struct tn_buf text = TN_BUF_INIT;
    struct tn_err err = TN_ERR_INIT;

    CHECK(tn_fs_read(path, TN_SSH_KEY_BYTES, &text, &err) == 0);
    return text;
}

static void check_key(const char *name, const char *type, const char *md5, const char *sha256)
{
    auto_buf struct tn_buf text = read_key(name);
    struct tn_ssh_key key;
    struct tn_err err = TN_ERR_INIT;

    CHECK(tn_ssh_key_read(text.data, text.len, &key, &err) == 0);
    CHECK_STR(err.text, "");
    CHECK_STR(key.type, type);
    CHECK_STR(key.md5, md5);
    CHECK_STR(key.sha256, sha256);
    CHECK(key.line != NULL && strncmp(key.line, type, strlen(type)) == 0);
    tn_ssh_key_free(&key);
}

static void check_wrong(const char *text, size_t length, const char *expected)
{
    struct tn_ssh_key key;
    struct tn_err err = TN_ERR_INIT;

    CHECK(tn_ssh_key_read(text, length, &key, &err) != 0);
    CHECK_STR(err.text, expected);
    tn_ssh_key_free(&key);
}

/* Cut at every byte it is never read as a key, and nothing is read behind its end. */
static void check_cut(const char *name)
{
    auto_buf struct tn_buf text = read_key(name);

    for (size_t length = 0; length + 40 < text.len; length++) {
        auto_free char *copy = malloc(length + 1);
        struct tn_ssh_key key;

        memcpy(copy, text.data, length);
        copy[length] = '\0';
        CHECK(tn_ssh_key_read(copy, length, &key, NULL) != 0);
        tn_ssh_key_free(&key);
    }
}

#define BEGIN "-----BEGIN OPENSSH PRIVATE KEY-----\n"
#define END "-----END OPENSSH PRIVATE KEY-----\n"

int main(void)
{
    static const char passphrase[] =
        "the key has a passphrase, which nobody can type in a job; remove it with `ssh-keygen -p`";
    auto_buf struct tn_buf locked = read_key("openssh-passphrase");
    auto_buf struct tn_buf locked_pem = read_key("pem-passphrase");
    auto_free char *large = calloc(1, TN_SSH_KEY_BYTES + 1);

    check_key("openssh-ed25519", "ssh-ed25519", "e1:1f:ae:91:e8:bf:69:48:49:3d:fc:fe:a9:fd:4e:a3",
              "SHA256:Rdt5+iVeSq6q2JTsMKu2hMQhFrb+ANcZzIfmdaEsPds");
    check_key("openssh-rsa", "ssh-rsa", "11:72:f5:25:99:71:1f:8b:9e:7c:35:2b:72:76:35:1c",
              "SHA256:EjkVHDua6EHk9HCekKW9fpyMM0oqR49u9kILT0unYLU");
    check_key("openssh-ecdsa", "ecdsa-sha2-nistp384", "7f:16:e4:22:1a:68:de:9d:07:b1:00:65:be:b3:b3:df",
              "SHA256:UCm+whyJm8wiXofaTvVFAXKDHcNqXQrbxpYVJf4x8cI");
    check_cut("openssh-ed25519");
    check_wrong("", 0, "expected a private key in OpenSSH's format or in PEM");
    check_wrong("ssh-ed25519 AAAA", 16, "expected a private key in OpenSSH's format or in PEM");
    check_wrong(BEGIN "AAAA\n", sizeof(BEGIN "AAAA\n") - 1,
                "the key is cut off: the line \"-----END OPENSSH PRIVATE KEY-----\" is missing");
    check_wrong(BEGIN "A*AA\n" END, sizeof(BEGIN "A*AA\n" END) - 1, "the key is damaged: its body is not base64");
    check_wrong(BEGIN "AAAA\n" END, sizeof(BEGIN "AAAA\n" END) - 1,
                "the key is damaged: expected \"openssh-key-v1\" at its beginning");
    check_wrong(BEGIN "b3BlbnNzaC1rZXktdjEA/////w==\n" END, sizeof(BEGIN "b3BlbnNzaC1rZXktdjEA/////w==\n" END) - 1,
                "the key is damaged: it ends in the middle of a field");
    check_wrong(locked.data, locked.len, passphrase);
    check_wrong(locked_pem.data, locked_pem.len, passphrase);
    check_wrong(large, TN_SSH_KEY_BYTES + 1, "a key of 16385 bytes, at most 16384 are allowed");
    return tn_check_result();
}
