#include "core/kernel/confine_worker.h"
#include "core/kernel/named.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"

#include <limits.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>

enum { SETTINGS_BYTES_MAX = 1024 * 1024 };

const char *tn_worker_network(const struct tn_worker *worker)
{
    return worker->manifest != NULL ? worker->manifest->network : NULL;
}

/* ---- the user ---- */

static bool is_open_to(const struct tn_own_user *user, const char *path, struct stat *info)
{
    if (stat(path, info) != 0)
        return true; /* not there yet: made as it must be */
    if (info->st_uid == user->uid)
        return (info->st_mode & S_IXUSR) != 0;
    if (info->st_gid == user->gid)
        return (info->st_mode & S_IXGRP) != 0;
    return (info->st_mode & S_IXOTH) != 0;
}

/* Can the user pass each folder from `from` on (its begin) to the last part of `path`, and that one, too? Else says
 * which not. */
static bool can_reach(const struct tn_own_user *user, const char *path, const char *from, char *why, size_t size)
{
    char part[PATH_MAX];
    const char *slash = path + strlen(from);
    struct stat info;

    do {
        slash = strchrnul(slash[0] == '/' ? slash + 1 : slash, '/');
        snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
        if (!is_open_to(user, part, &info)) {
            snprintf(why, size, "%s cannot %s %.120s (mode %04o): chmod o+x it", user->name,
                     S_ISDIR(info.st_mode) ? "enter" : "execute", part, (unsigned)info.st_mode & 07777);
            return false;
        }
    } while (*slash != '\0');
    return true;
}

/* The folder above a path. The caller frees it. */
static char *above(const char *path)
{
    char *folder = tn_fs_path("%s", path);
    char *slash = strrchr(folder, '/');

    if (slash != NULL)
        *slash = '\0';
    return folder;
}

static bool is_below(const char *path, const char *folder)
{
    size_t length = strlen(folder);

    return strncmp(path, folder, length) == 0 && path[length] == '/';
}

/* A constructed root makes the folders above what it shows passable; without one every folder counts. */
static bool can_be_used(const struct tn_worker *worker, const struct tn_kernel_config *config, char *why, size_t size)
{
    const struct tn_own_user *user = &worker->user;
    bool has_tree = worker->kernel->means.mounts[0] == '\0';
    const char *const folders[] = {config->run_dir, config->state_dir, config->store_dir};
    char program[PATH_MAX];
    auto_free char *shown = NULL;

    if (realpath(worker->program, program) == NULL)
        return true; /* starting it will say what is wrong */
    shown = is_below(program, config->root) ? above(config->root) : above(program);
    if (is_below(program, config->root) || !has_tree) {
        if (!can_reach(user, program, has_tree ? shown : "", why, size))
            return false;
    } else {
        auto_free char *from = above(shown);

        if (!can_reach(user, program, from, why, size))
            return false;
    }
    for (size_t i = 0; !has_tree && i < sizeof(folders) / sizeof(folders[0]); i++) {
        auto_free char *parent = above(folders[i]); /* the last one is opened by us (places.h) */

        if (parent[0] != '\0' && !can_reach(user, parent, "", why, size))
            return false;
    }
    return true;
}

void tn_worker_settle_user(struct tn_worker *worker, const struct tn_kernel_config *config)
{
    char why[256];

    tn_identity_find(worker->manifest != NULL ? worker->manifest->name : worker->row->user, &worker->user);
    if (worker->user.is_own && !can_be_used(worker, config, why, sizeof(why)))
        tn_identity_give_up(&worker->user, why);
}

/* ---- what it sees ---- */

static void show_program(struct tn_tree *tree, const struct tn_worker *worker, const struct tn_kernel_config *config)
{
    char program[PATH_MAX];

    tn_tree_add(tree, TN_TREE_READ, config->root, NULL);
    if (realpath(worker->program, program) != NULL && !tn_tree_has(tree, program)) {
        auto_free char *folder = above(program); /* with what it loads from beside itself */

        tn_tree_add(tree, TN_TREE_READ, folder, NULL);
    }
}

static void show_sockets(struct tn_tree *tree, const struct tn_worker *worker, const struct tn_kernel_config *config)
{
    auto_free char *bus =
        tn_fs_path("%s/bus/%04x.%08x", config->run_dir, (unsigned)worker->address, (unsigned)worker->life);
    auto_free char *data =
        tn_fs_path("%s/data/%04x.%08x", config->run_dir, (unsigned)worker->address, (unsigned)worker->life);
    auto_free char *all_data = tn_fs_path("%s/data", config->run_dir);

    if (worker->row->role != TN_ROLE_BUS) /* whose own folder has them all */
        tn_tree_add(tree, TN_TREE_READ, bus, NULL);
    if (worker->row->role == TN_ROLE_EXECUTOR)
        tn_tree_add(tree, TN_TREE_READ, data, NULL);
    if (worker->row->role == TN_ROLE_OUTPUT)
        tn_tree_add(tree, TN_TREE_WRITE, all_data, NULL);
}

/* Names and passwords' owners, certificates, and how names are looked up: there are too many files to name them. */
static void show_etc(struct tn_tree *tree)
{
    char real[PATH_MAX];

    tn_tree_add(tree, TN_TREE_READ, "/etc", NULL);
    if (realpath("/etc/resolv.conf", real) != NULL && !tn_tree_has(tree, real)) {
        auto_free char *folder = above(real);

        tn_tree_add(tree, TN_TREE_READ, folder, NULL);
    }
}

static struct tn_tree *make_tree(const struct tn_worker *worker, const struct tn_kernel_config *config,
                                 const struct tn_places *places)
{
    struct tn_tree *tree = calloc(1, sizeof(*tree));
    const char *const own[] = {places->run, places->state, places->store};

    if (tree == NULL)
        return NULL;
    tn_tree_init(tree, config->run_dir);
    tree->uid = worker->user.uid;
    tree->gid = worker->user.gid;
    tn_tree_add_system(tree);
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        if (own[i][0] != '\0')
            tn_tree_add(tree, TN_TREE_WRITE, own[i], NULL);
    show_sockets(tree, worker, config);
    show_program(tree, worker, config);
    if (config->settings_dir[0] != '\0') {
        auto_free char *settings = tn_fs_path("%s/%s.json", config->settings_dir, worker->name);

        tn_tree_add(tree, TN_TREE_READ, settings, NULL);
    }
    if (worker->row->role == TN_ROLE_EXECUTOR)
        show_etc(tree);
#ifdef TN_SANITIZED
    tn_tree_add(tree, TN_TREE_READ, "/proc", NULL); /* LeakSanitizer reads /proc/PID of whom it looks into */
#else
    if (worker->row->proc != NULL)
        tn_tree_add(tree, TN_TREE_READ, "/proc/self", NULL);
#endif
    return tree;
}

/* What an executor gets of the operator's settings. That they are wrong says the executor itself. */
static cJSON *read_settings(const struct tn_worker *worker, const struct tn_kernel_config *config)
{
    auto_free char *file = tn_fs_path("%s/%s.json", config->settings_dir, worker->name);
    auto_buf struct tn_buf text = TN_BUF_INIT;

    if (config->settings_dir[0] == '\0' || tn_fs_read(file, SETTINGS_BYTES_MAX, &text, NULL) != 0)
        return NULL;
    return tn_json_parse(text.data, text.len, file, NULL);
}

int tn_worker_confine(const struct tn_worker *worker, const struct tn_kernel_config *config,
                      const struct tn_places *places, struct tn_confinement *out, struct tn_err *err)
{
    auto_json cJSON *settings = NULL;
    struct tn_named named = {.manifest = worker->manifest,
                             .hidden = {config->run_dir, config->state_dir, config->store_dir}};

    tn_confinement_init(out, &worker->kernel->means, &worker->user, tn_worker_network(worker) != NULL);
    out->limits = worker->row->profile != NULL ? worker->row->profile->limits : NULL;
    if ((out->flags & CLONE_NEWNS) != 0 && (out->tree = make_tree(worker, config, places)) == NULL)
        return tn_err_set(err, TN_ERR_SYSTEM, "out of memory");
    if (worker->manifest != NULL) {
        named.settings = settings = read_settings(worker, config);
        tn_named_add(&named, out);
    }
    if (out->tree == NULL)
        return 0;
    tn_tree_sort(out->tree);
    if (out->tree->overflow) {
        tn_confinement_free(out);
        return tn_err_set(err, TN_ERR_CONFIG,
                          "the settings of %s name more files and folders than the %d that it can be shown",
                          worker->name, TN_TREE_ENTRIES_MAX);
    }
    return 0;
}
