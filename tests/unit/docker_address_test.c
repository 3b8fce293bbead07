/* Where an engine is: addresses taken and refused with their words, the files of TLS, the answer to an attach. */
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "executors/docker/address.h"
#include "executors/docker/agent_tar.h"
#include "executors/docker/engine.h"
#include "executors/docker/upgrade.h"
#include "tests/unit/check.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *text;
    const char *socket;
    const char *host;
    int port;
    bool loopback;
} valid[] = {
    {NULL, "/var/run/docker.sock", "", 0, false},
    {"", "/var/run/docker.sock", "", 0, false},
    {"unix:///run/user/1000/docker.sock", "/run/user/1000/docker.sock", "", 0, false},
    {"tcp://build1", "", "build1", 0, false},
    {"tcp://build1.example.com:2376/", "", "build1.example.com", 2376, false},
    {"tcp://127.8.0.1:1", "", "127.8.0.1", 1, true},
    {"tcp://localhost", "", "localhost", 0, true},
    {"tcp://[::1]:65535", "", "::1", 65535, true},
    {"tcp://[fe80::1]", "", "fe80::1", 0, false},
};

static const struct {
    const char *text;
    const char *error;
} invalid[] = {
    {"unix://docker.sock",
     "DOCKER_HOST is \"unix://docker.sock\": the socket's path is not absolute or longer than 107 "
     "bytes; expected something like unix:///var/run/docker.sock"},
    {"http://x", "DOCKER_HOST is \"http://x\": expected unix:///PATH or tcp://HOST:PORT, something like "
                 "unix:///var/run/docker.sock or tcp://build1:2376"},
    {"tcp://", "DOCKER_HOST is \"tcp://\": expected tcp://HOST or tcp://HOST:PORT with a name or an address ([::1] for "
               "IPv6) and a port of 1 to 65535"},
    {"tcp://h:0", NULL},
    {"tcp://h:65536", NULL},
    {"tcp://h:12x", NULL},
    {"tcp://h:-1", NULL},
    {"tcp://h/path", NULL},
    {"tcp://[::1", NULL},
    {"tcp://[not]", NULL},
    {"tcp://user@h", NULL},
    {"tcp://h h", NULL},
    {"ssh://me@build1", "DOCKER_HOST is \"ssh://me@build1\": executors start no programs, ssh neither; forward the "
                        "engine's socket, ssh -N -L \"$XDG_RUNTIME_DIR/docker-remote.sock:/var/run/docker.sock\" "
                        "me@build1, and set it to unix:// and that path, or use tcp:// with TLS"},
};

static void test_addresses(void)
{
    struct tn_engine_address address;

    for (size_t i = 0; i < sizeof(valid) / sizeof(valid[0]); i++) {
        CHECK(tn_engine_address_parse(&address, valid[i].text, "DOCKER_HOST", NULL) == 0);
        CHECK_STR(address.socket, valid[i].socket);
        CHECK_STR(address.host, valid[i].host);
        CHECK(address.port == valid[i].port && address.loopback == valid[i].loopback);
    }
    for (size_t i = 0; i < sizeof(invalid) / sizeof(invalid[0]); i++) {
        struct tn_err err = TN_ERR_INIT;

        CHECK(tn_engine_address_parse(&address, invalid[i].text, "DOCKER_HOST", &err) < 0);
        CHECK(err.code == TN_ERR_USAGE);
        if (invalid[i].error != NULL)
            CHECK_STR(err.text, invalid[i].error);
    }
}

/* What tn_engine_tls_read() says with these paths. */
static struct tn_err read_tls(const char *text, const struct tn_engine_tls_paths *paths, bool *on)
{
    struct tn_engine_address address;
    struct tn_engine_tls tls;
    struct tn_err err = TN_ERR_INIT;

    CHECK(tn_engine_address_parse(&address, text, "docker.engine", &err) == 0);
    if (tn_engine_tls_read(&tls, &address, paths, &err) != 0)
        CHECK(err.code != TN_OK);
    *on = tls.on;
    tn_engine_tls_free(&tls);
    return err;
}

static void test_tls(const char *folder)
{
    auto_free char *pem = tn_fs_path("%s/ca.pem", folder);
    auto_free char *text = tn_fs_path("%s/text", folder);
    auto_free char *expected = tn_fs_path("the CA of the Docker Engine %s is no PEM file: expected a block that begins "
                                          "with \"-----BEGIN\"",
                                          text);
    struct tn_err err = TN_ERR_INIT;
    bool on;

    CHECK(tn_fs_write_atomic(pem, "-----BEGIN X-----\n", 18, 0600, &err) == 0);
    CHECK(tn_fs_write_atomic(text, "hello\n", 6, 0600, &err) == 0);
    err = read_tls("unix:///x", &(struct tn_engine_tls_paths){.ca = text}, &on);
    CHECK(err.code == TN_OK && !on);
    err = read_tls("tcp://127.0.0.1", &(struct tn_engine_tls_paths){0}, &on);
    CHECK(err.code == TN_OK && !on);
    err = read_tls("tcp://build1", &(struct tn_engine_tls_paths){.ca = pem}, &on);
    CHECK(err.code == TN_OK && on);
    err = read_tls("tcp://build1", &(struct tn_engine_tls_paths){.cert_path = folder}, &on);
    CHECK(err.code == TN_OK && on);
    err = read_tls("tcp://build1", &(struct tn_engine_tls_paths){.ca = text}, &on);
    CHECK_STR(err.text, expected);
    err = read_tls("tcp://build1", &(struct tn_engine_tls_paths){.ca = pem, .key = pem}, &on);
    CHECK_STR(err.text, "docker.tls names a key without a certificate: set both or none of docker.tls.certificate and "
                        "docker.tls.key");
    err = read_tls("tcp://build1", &(struct tn_engine_tls_paths){.verify = "1", .home = "/nonexistent"}, &on);
    CHECK(strstr(err.text, "the CA of the Docker Engine (DOCKER_CERT_PATH): ") != NULL);
    CHECK(strstr(err.text, "/nonexistent/.docker/ca.pem") != NULL);
}

static enum tn_upgrade_state upgrade(const char *answer, size_t piece, size_t *used, char *words, size_t size)
{
    struct tn_upgrade state = {0};
    enum tn_upgrade_state end;
    size_t len = strlen(answer);
    size_t took = 0;

    *used = 0;
    for (size_t at = 0; at < len && state.state != TN_UPGRADE_OPEN; at += piece) {
        CHECK(tn_upgrade_feed(&state, answer + at, len - at < piece ? len - at : piece, &took, NULL) == 0);
        *used += took;
    }
    tn_upgrade_refusal(&state, words, size);
    end = state.state;
    tn_upgrade_free(&state);
    return end;
}

static void test_upgrade(void)
{
    static const char open[] = "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\n\r\nBYTES";
    static const char refused[] =
        "HTTP/1.1 409 Conflict\r\nContent-Length: 40\r\n\r\n{\"message\":\"it is not running\"}\n";
    static char huge[TN_UPGRADE_HEAD_MAX + 100];
    struct tn_upgrade state = {0};
    struct tn_err err = TN_ERR_INIT;
    char words[200];
    size_t used;

    for (size_t piece = 1; piece < 60; piece++) {
        CHECK(upgrade(open, piece, &used, words, sizeof(words)) == TN_UPGRADE_OPEN && used == sizeof(open) - 6);
        CHECK(upgrade(refused, piece, &used, words, sizeof(words)) == TN_UPGRADE_REFUSED);
        CHECK_STR(words, "HTTP 409: it is not running");
    }
    CHECK(tn_upgrade_feed(&state, "SSH-2.0-OpenSSH\r\n\r\n", 19, &used, &err) < 0);
    CHECK_STR(err.text, "the answer is no HTTP; is it a Docker Engine?");
    tn_upgrade_free(&state);
    state = (struct tn_upgrade){0};
    memset(huge, 'x', sizeof(huge));
    CHECK(tn_upgrade_feed(&state, huge, sizeof(huge), &used, &err) < 0);
    CHECK(err.code == TN_ERR_LIMIT);
    tn_upgrade_free(&state);
}

static void test_folder_seen(void)
{
    struct tn_err err = TN_ERR_INIT;

    CHECK(tn_engine_folder_seen(201, NULL) == -1);
    tn_err_set(&err, TN_ERR_NOT_FOUND, "HTTP 404: No such image: tenon.invalid/none:none");
    CHECK(tn_engine_folder_seen(404, &err) == 1 && tn_engine_folder_seen(0, &err) == -1);
    tn_err_set(&err, TN_ERR_CONFIG, "invalid mount config for type \"bind\": bind source path does not exist: /x");
    CHECK(tn_engine_folder_seen(400, &err) == 0);
    tn_err_set(&err, TN_ERR_UNAVAILABLE, "no devices found in /x: invalid argument");
    CHECK(tn_engine_folder_seen(500, &err) == 1);
    tn_err_set(&err, TN_ERR_UNAVAILABLE, "stat /x: no such file or directory");
    CHECK(tn_engine_folder_seen(500, &err) == 0);
    tn_err_set(&err, TN_ERR_UNAVAILABLE, "something else");
    CHECK(tn_engine_folder_seen(500, &err) == -1);
}

static void test_tar(void)
{
    struct tn_buf tar = TN_BUF_INIT;
    char agent[700];

    memset(agent, 'a', sizeof(agent));
    tn_agent_tar(&tar, agent, sizeof(agent));
    /* Seven headers, the program in two blocks, two empty blocks. */
    CHECK(tar.len == (7 + 2 + 2) * 512);
    CHECK_STR(tar.data + 2 * 512, ".tenon/bin/tenon-agent");
    CHECK_STR(tar.data + 2 * 512 + 100, "0000755");
    CHECK_STR(tar.data + 2 * 512 + 124, "00000001274");
    tn_buf_free(&tar);
}

int main(void)
{
    char folder[] = "/tmp/tenon-address-test-XXXXXX";

    CHECK(mkdtemp(folder) != NULL);
    test_addresses();
    test_tls(folder);
    test_upgrade();
    test_folder_seen();
    test_tar();
    CHECK(tn_fs_remove_tree(folder, NULL) == 0);
    return tn_check_result();
}
