#include "core/lib/landlock.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

struct landlock_ruleset {
    uint64_t fs;
    uint64_t net;
    uint64_t scoped;
};

struct landlock_port {
    uint64_t access;
    uint64_t port;
};

struct landlock_path {
    uint64_t access;
    int32_t fd;
} __attribute__((packed));

enum {
    LL_VERSION = 1, /* flag: ask for the version */
    LL_PATH = 1,    /* type of rule */
    LL_PORT = 2,    /* type of rule */
    LL_EXECUTE = 1 << 0,
    LL_WRITE_FILE = 1 << 1,
    LL_READ_FILE = 1 << 2,
    LL_READ_DIR = 1 << 3,
    LL_MAKE_CHAR = 1 << 6,
    LL_MAKE_BLOCK = 1 << 11,
    LL_FIRST = (1 << 13) - 1, /* all of version 1: also make and remove what there is */
    LL_REFER = 1 << 13,       /* 2 */
    LL_TRUNCATE = 1 << 14,    /* 3 */
    LL_IOCTL_DEV = 1 << 15,   /* 5 */
    LL_OF_FILES = LL_EXECUTE | LL_WRITE_FILE | LL_READ_FILE | LL_TRUNCATE | LL_IOCTL_DEV,
    LL_READS = LL_READ_FILE | LL_READ_DIR,
    LL_NOBODYS = LL_EXECUTE | LL_IOCTL_DEV | LL_MAKE_CHAR | LL_MAKE_BLOCK,
    LL_NET_TCP = 3, /* 4: bind and connect */
    LL_NET_CONNECT = 2,
    LL_SCOPES = 3, /* 6: abstract sockets and signals of others */
};

/* What looking up a name reads. Modules of the name service switch other than files and dns cannot be loaded. */
static const char *const resolver_files[] = {"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf",
                                             "/etc/gai.conf"};

int tn_landlock_version(void)
{
    return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LL_VERSION);
}

static struct landlock_ruleset rules_of(int version)
{
    struct landlock_ruleset rules = {.fs = LL_FIRST};

    if (version >= 2)
        rules.fs |= LL_REFER;
    if (version >= 3)
        rules.fs |= LL_TRUNCATE;
    if (version >= 4)
        rules.net = LL_NET_TCP;
    if (version >= 5)
        rules.fs |= LL_IOCTL_DEV;
    if (version >= 6)
        rules.scoped = LL_SCOPES;
    return rules;
}

static int allow_path(int ruleset, const char *path, uint64_t access, struct tn_err *err)
{
    auto_fd int fd = open(path, O_PATH | O_CLOEXEC);
    struct landlock_path rule = {.access = access, .fd = fd};
    struct stat info;

    if (fd < 0)
        return errno == ENOENT ? 0 : tn_err_sys(err, errno, "Landlock: cannot open %s", path);
    if (fstat(fd, &info) != 0)
        return tn_err_sys(err, errno, "Landlock: %s", path);
    if (!S_ISDIR(info.st_mode))
        rule.access &= LL_OF_FILES;
    if (syscall(SYS_landlock_add_rule, ruleset, LL_PATH, &rule, 0) != 0)
        return tn_err_sys(err, errno, "Landlock: cannot allow %s", path);
    return 0;
}

static int allow_ports(int ruleset, const uint16_t *ports, struct tn_err *err)
{
    for (; ports != NULL && *ports != 0; ports++) {
        struct landlock_port rule = {.access = LL_NET_CONNECT, .port = *ports};

        if (syscall(SYS_landlock_add_rule, ruleset, LL_PORT, &rule, 0) != 0)
            return tn_err_sys(err, errno, "Landlock: cannot allow port %u", *ports);
    }
    return 0;
}

static int allow_network(int ruleset, const struct tn_confine *confine, bool by_port, struct tn_err *err)
{
    if ((tn_profile_groups(confine->profile) & TN_PROFILE_CONNECT) == 0)
        return 0;
    for (size_t i = 0; i < sizeof(resolver_files) / sizeof(resolver_files[0]); i++)
        if (allow_path(ruleset, resolver_files[i], LL_READ_FILE, err) != 0)
            return -1;
    return by_port ? allow_ports(ruleset, confine->ports, err) : 0;
}

static int allow_places(int ruleset, const struct tn_confine *confine, uint64_t writes, struct tn_err *err)
{
    const struct tn_profile_place *place = confine->profile->places;

    for (; place != NULL && place->below != NULL; place++) {
        const char *root = confine->roots[place->root];
        auto_free char *path = NULL;

        if (root == NULL || root[0] == '\0')
            continue;
        path = tn_fs_path("%s/%s", root, place->below);
        if (allow_path(ruleset, path, place->write ? writes : LL_READS, err) != 0)
            return -1;
    }
    for (size_t i = 0; i < confine->path_count; i++)
        if (allow_path(ruleset, confine->paths[i].path, confine->paths[i].write ? writes : LL_READS, err) != 0)
            return -1;
    return 0;
}

int tn_landlock_apply(const struct tn_confine *confine, int version, struct tn_err *err)
{
    struct landlock_ruleset rules = rules_of(version);
    /* Before version 4 the structure ends after the first member; zeros behind it are accepted by all. */
    auto_fd int ruleset = (int)syscall(SYS_landlock_create_ruleset, &rules, sizeof(rules), 0);

    if (ruleset < 0)
        return tn_err_sys(err, errno, "Landlock: no rule set");
    if (allow_places(ruleset, confine, rules.fs & ~(uint64_t)LL_NOBODYS, err) != 0 ||
        allow_network(ruleset, confine, rules.net != 0, err) != 0)
        return -1;
#ifdef TN_SANITIZED
    if (allow_path(ruleset, "/", LL_READS, err) != 0) /* reports read /proc and debug information */
        return -1;
#endif
    if (syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
        return tn_err_sys(err, errno, "Landlock: cannot restrict this process");
    return 0;
}
