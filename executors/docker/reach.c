#include "executors/docker/reach.h"

#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "executors/docker/http.h"
#include "executors/sdk/agent_files.h"

#include <dirent.h>
#include <elf.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/statfs.h>
#include <sys/utsname.h>

#define AGENT_MAX (16u << 20)

/* ---- where it is ---- */

static void read_address(struct tn_docker_reach *reach, const cJSON *settings)
{
    const cJSON *tls = tn_json_get(settings, "tls");
    const char *engine = tn_json_string(settings, "engine", "");
    bool ours = engine[0] != '\0';
    const struct tn_engine_tls_paths paths = {.ca = tn_json_string(tls, "ca", ""),
                                              .certificate = tn_json_string(tls, "certificate", ""),
                                              .key = tn_json_string(tls, "key", ""),
                                              .verify = getenv("DOCKER_TLS_VERIFY"),
                                              .cert_path = getenv("DOCKER_CERT_PATH"),
                                              .home = getenv("HOME")};
    struct tn_err err = TN_ERR_INIT;

    if (tn_engine_address_parse(&reach->address, ours ? engine : getenv("DOCKER_HOST"),
                                ours ? "docker.engine" : "DOCKER_HOST", &err) != 0 ||
        tn_engine_tls_read(&reach->tls, &reach->address, &paths, &err) != 0) {
        snprintf(reach->error, sizeof(reach->error), "%s", err.text);
        return;
    }
    if (reach->address.socket[0] == '\0' && !reach->tls.on)
        tn_warn("%s is %s without TLS: every user of this host can reach that engine, and is root through it",
                reach->address.setting, reach->address.text);
}

uint16_t tn_docker_reach_port(const struct tn_docker_reach *reach)
{
    if (reach->address.host[0] == '\0')
        return 0;
    return reach->address.port != 0 ? (uint16_t)reach->address.port : reach->tls.on ? 2376 : 2375;
}

/* ---- the agents ---- */

/* Which architecture a program is for: 0 x86-64, 1 arm64, -1 neither or no program. */
static int machine_of(const struct tn_buf *program)
{
    Elf64_Ehdr head;

    if (program->len < sizeof(head))
        return -1;
    memcpy(&head, program->data, sizeof(head));
    if (memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_ident[EI_CLASS] != ELFCLASS64)
        return -1;
    return head.e_machine == EM_X86_64 ? 0 : head.e_machine == EM_AARCH64 ? 1 : -1;
}

/* Beside the agent of this host's architecture lie those for others, if they were built. */
static void read_agents(struct tn_docker_reach *reach)
{
    static const char *const suffixes[] = {"", "-arm64", "-x86_64"};
    auto_free char *agent = tn_agent_files_find();

    for (size_t i = 0; agent != NULL && i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        auto_free char *path = tn_fs_path("%s%s", agent, suffixes[i]);
        struct tn_buf program = TN_BUF_INIT;
        struct tn_err none = TN_ERR_INIT;
        int machine = tn_fs_read(path, AGENT_MAX, &program, &none) == 0 ? machine_of(&program) : -1;

        if (machine >= 0 && reach->agents[machine].len == 0)
            reach->agents[machine] = program;
        else
            tn_buf_free(&program);
    }
}

const struct tn_buf *tn_docker_reach_agent(const struct tn_docker_reach *reach, const char *arch, struct tn_err *err)
{
    int machine = strcmp(arch, "x86_64") == 0 ? 0 : strcmp(arch, "aarch64") == 0 ? 1 : -1;

    if (machine < 0) {
        tn_err_set(err, TN_ERR_UNAVAILABLE,
                   "the Docker Engine at %s runs on %.30s, for which there is no agent: use an engine on x86_64 or "
                   "aarch64",
                   reach->address.text, arch);
        return NULL;
    }
    if (reach->agents[machine].len == 0) {
        tn_err_set(err, TN_ERR_UNAVAILABLE,
                   "the Docker Engine at %s runs on %s, for which this installation has no agent: expected "
                   "executors/agent/tenon-agent%s; build it (tools/fetch-arm64-musl, then meson setup again)",
                   reach->address.text, arch, machine == 1 ? "-arm64" : "-x86_64");
        return NULL;
    }
    return &reach->agents[machine];
}

/* ---- are folders shared? ---- */

static enum tn_docker_sharing sharing_of(const char *word)
{
    if (strcmp(word, "yes") == 0)
        return TN_DOCKER_SHARED_YES;
    return strcmp(word, "no") == 0 ? TN_DOCKER_SHARED_NO : TN_DOCKER_SHARED_AUTO;
}

/* A network's or a virtual machine's file system shows the same names to several kernels, but a socket works under the
 * one that made it. */
static bool holds_sockets(const char *path)
{
    static const unsigned long foreign[] = {NFS_SUPER_MAGIC, SMB_SUPER_MAGIC,  0xfe534d42 /* SMB 2 */, CIFS_SUPER_MAGIC,
                                            V9FS_MAGIC,      FUSE_SUPER_MAGIC, CEPH_SUPER_MAGIC,       AFS_SUPER_MAGIC};
    struct statfs info;

    if (statfs(path, &info) != 0)
        return true;
    for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
        if ((unsigned long)info.f_type == foreign[i])
            return false;
    return true;
}

/* The one that an earlier life left, if it was killed; NULL: none. */
static char *find_probe(const char *sockets)
{
    auto_dir DIR *dir = opendir(sockets);
    struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL)
        if (strncmp(entry->d_name, "probe-", 6) == 0)
            return tn_fs_path("%s/%s", sockets, entry->d_name);
    return NULL;
}

static void make_probe(struct tn_docker_reach *reach, const char *sockets)
{
    struct tn_err err = TN_ERR_INIT;
    uint64_t random = 0;

    if (getrandom(&random, sizeof(random), 0) != sizeof(random))
        tn_fatal(3, "no random numbers");
    reach->probe = find_probe(sockets);
    if (reach->probe == NULL)
        reach->probe = tn_fs_path("%s/probe-%016llx", sockets, (unsigned long long)random);
    if (tn_fs_make_dirs(reach->probe, 0700, &err) != 0)
        tn_fatal(3, "%s", err.text);
    reach->local = holds_sockets(reach->probe);
}

int tn_docker_reach_guess(const struct tn_docker_reach *reach, const struct tn_container_host *host)
{
    struct utsname here;

    if (reach->sharing != TN_DOCKER_SHARED_AUTO)
        return reach->sharing == TN_DOCKER_SHARED_YES;
    /* Another kernel: a virtual machine's, or another host's. Its containers cannot use a socket of this one. */
    if (!reach->local || (host->kernel[0] != '\0' && uname(&here) == 0 && strcmp(here.release, host->kernel) != 0))
        return 0;
    return -1;
}

void tn_docker_reach_open(struct tn_docker_reach *reach, const cJSON *settings, const char *sockets)
{
    tn_http_prepare();
    read_address(reach, settings);
    reach->sharing = sharing_of(tn_json_string(settings, "shared_folders", "auto"));
    read_agents(reach);
    make_probe(reach, sockets);
}

void tn_docker_reach_close(struct tn_docker_reach *reach)
{
    struct tn_err err = TN_ERR_INIT;

    tn_engine_tls_free(&reach->tls);
    for (size_t i = 0; i < sizeof(reach->agents) / sizeof(reach->agents[0]); i++)
        tn_buf_free(&reach->agents[i]);
    if (reach->probe != NULL && tn_fs_remove_tree(reach->probe, &err) != 0)
        tn_warn("%s", err.text);
    free(reach->probe);
}
