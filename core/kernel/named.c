#include "core/kernel/named.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COPIES_MAX = 64, COPY_BYTES = 1 << 20 };

struct walk {
    const struct tn_named *named;
    struct tn_confinement *confinement;
    unsigned folders; /* of sockets so far */
};

static bool may_read(const struct tn_own_user *user, const struct stat *info)
{
    unsigned shift = info->st_uid == user->uid ? 6 : info->st_gid == user->gid ? 3 : 0;
    unsigned needed = S_ISDIR(info->st_mode) ? 5 : 4;

    return !user->is_own || ((info->st_mode >> shift) & needed) == needed;
}

/* ---- sockets ---- */

static void join(struct tn_confinement *confinement, gid_t group)
{
    for (size_t i = 0; i < confinement->group_count; i++)
        if (confinement->groups[i] == group)
            return;
    if (confinement->group_count < TN_CONFINEMENT_GROUPS_MAX)
        confinement->groups[confinement->group_count++] = group;
}

static void add_group(struct tn_confinement *confinement, const struct stat *info)
{
    bool open_to_group = (info->st_mode & S_IWGRP) != 0 && info->st_gid != 0;
    bool open_to_all = (info->st_mode & S_IWOTH) != 0;

    if (confinement->user->is_own && open_to_group && !open_to_all)
        join(confinement, info->st_gid);
}

/* The group that Docker's engine gives its socket, of one that is not bound yet. */
static void add_engines_group(struct tn_confinement *confinement)
{
    auto_file FILE *file = confinement->user->is_own ? fopen("/etc/group", "re") : NULL;
    const struct group *entry;

    while (file != NULL && (entry = fgetgrent(file)) != NULL)
        if (strcmp(entry->gr_name, "docker") == 0 && entry->gr_gid != 0) {
            join(confinement, entry->gr_gid);
            return;
        }
}

/* Folders of this and other installations that lie in one with a socket are not shown with it. */
static void hide_ours(struct walk *walk, const char *folder, const char *shown)
{
    size_t length = strlen(folder);

    for (size_t i = 0; i < TN_NAMED_HIDDEN_MAX; i++) {
        auto_free char *hidden = tn_fs_path("%s", walk->named->hidden[i]);
        char *slash = strrchr(hidden, '/');
        auto_free char *path = NULL;

        if (strncmp(hidden, folder, length) != 0 || hidden[length] != '/')
            continue;
        if ((size_t)(slash - hidden) > length) /* RUN lies in a folder with those of others, or STATE in `runs` */
            *slash = '\0';
        path = tn_fs_path("%s%s", shown, hidden + length);
        tn_tree_add(walk->confinement->tree, TN_TREE_EMPTY, path, NULL);
    }
}

static void show_socket(struct walk *walk, const char *path, const char *real)
{
    struct tn_tree *tree = walk->confinement->tree;
    auto_free char *folder = tn_fs_path("%s", real);
    char *slash = strrchr(folder, '/');
    auto_free char *name = tn_fs_path("%s", slash + 1);
    auto_free char *shown = tn_fs_path("/.host/%u", walk->folders);
    auto_free char *link = tn_fs_path("%s/%s", shown, name);

    if (slash == folder || tn_tree_has(tree, path))
        return; /* in "/": that is everything */
    *slash = '\0';
    walk->folders++;
    tn_tree_add(tree, TN_TREE_READ, shown, folder);
    hide_ours(walk, folder, shown);
    tn_tree_add(tree, TN_TREE_LINK, path, link);
}

/* An engine may be started after us. */
static void await_socket(struct walk *walk, const char *path)
{
    auto_free char *folder = tn_fs_path("%s", path);
    char *slash = strrchr(folder, '/');
    auto_free char *real = NULL;
    char real_folder[PATH_MAX];

    add_engines_group(walk->confinement);
    *slash = '\0';
    if (walk->confinement->tree == NULL || realpath(folder, real_folder) == NULL || strcmp(real_folder, "/") == 0)
        return;
    real = tn_fs_path("%s/%s", real_folder, slash + 1);
    show_socket(walk, path, real);
}

/* ---- files and folders ---- */

static void copy_files(struct walk *walk, const char *path, const char *real)
{
    struct tn_tree *tree = walk->confinement->tree;
    auto_dir DIR *dir = opendir(real);
    const struct dirent *entry;
    unsigned count = 0;

    while (dir != NULL && count < COPIES_MAX && (entry = readdir(dir)) != NULL) {
        auto_free char *file = tn_fs_path("%s/%s", real, entry->d_name);
        auto_free char *shown = tn_fs_path("%s/%s", path, entry->d_name);
        struct stat info;

        if (stat(file, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size > COPY_BYTES)
            continue;
        tn_tree_add(tree, TN_TREE_COPY, shown, file);
        count++;
    }
}

/* A folder of certificates whose key is root's. */
static bool has_unreadable(const struct tn_own_user *user, const char *real)
{
    auto_dir DIR *dir = opendir(real);
    const struct dirent *entry;
    unsigned count = 0;

    while (user->is_own && dir != NULL && count++ < COPIES_MAX && (entry = readdir(dir)) != NULL) {
        struct stat info;

        if (fstatat(dirfd(dir), entry->d_name, &info, 0) == 0 && S_ISREG(info.st_mode) && !may_read(user, &info))
            return true;
    }
    return false;
}

static void show(struct walk *walk, const char *path)
{
    struct tn_confinement *confinement = walk->confinement;
    char real[PATH_MAX];
    struct stat info;

    if (realpath(path, real) == NULL || stat(real, &info) != 0 || strcmp(real, "/") == 0)
        return;
    if (S_ISSOCK(info.st_mode))
        add_group(confinement, &info);
    if (confinement->tree == NULL)
        return;
    if (S_ISSOCK(info.st_mode))
        show_socket(walk, path, real);
    else if (S_ISDIR(info.st_mode) && (!may_read(confinement->user, &info) || has_unreadable(confinement->user, real)))
        copy_files(walk, path, real);
    else if (S_ISREG(info.st_mode) && !may_read(confinement->user, &info))
        tn_tree_add(confinement->tree, TN_TREE_COPY, path, real);
    else if ((S_ISREG(info.st_mode) || S_ISDIR(info.st_mode)) && !tn_tree_has(confinement->tree, path))
        tn_tree_add(confinement->tree, TN_TREE_READ, path, real);
}

static bool is_plain(const char *path)
{
    size_t length = strlen(path);

    return path[0] == '/' && length > 1 && length < PATH_MAX && path[length - 1] != '/' && strstr(path, "//") == NULL &&
           strstr(path, "/./") == NULL && strstr(path, "/../") == NULL && strcmp(path + length - 2, "/.") != 0 &&
           (length < 3 || strcmp(path + length - 3, "/..") != 0);
}

/* "/path" or "unix:///path"; any other text names nothing of this host. */
static void show_text(struct walk *walk, const char *text)
{
    static const char scheme[] = "unix://";
    bool is_socket = text != NULL && strncmp(text, scheme, strlen(scheme)) == 0;
    const char *path = is_socket ? text + strlen(scheme) : text;

    if (path == NULL || !is_plain(path))
        return;
    if (is_socket && access(path, F_OK) != 0 && errno == ENOENT)
        await_socket(walk, path);
    else
        show(walk, path);
}

static void show_settings(struct walk *walk, const cJSON *item)
{
    const cJSON *member;

    if (cJSON_IsString(item))
        show_text(walk, item->valuestring);
    cJSON_ArrayForEach (member, item)
        show_settings(walk, member);
}

/* Programs that settings name without their folder are looked for there. */
static void show_search_path(struct walk *walk)
{
    auto_free char *folders = tn_fs_path("%s", getenv("PATH") != NULL ? getenv("PATH") : "");
    char *rest = NULL;

    for (const char *folder = strtok_r(folders, ":", &rest); folder != NULL; folder = strtok_r(NULL, ":", &rest)) {
        struct tn_tree *tree = walk->confinement->tree;
        char real[PATH_MAX];
        struct stat info;

        if (is_plain(folder) && !tn_tree_has(tree, folder) && realpath(folder, real) != NULL &&
            stat(real, &info) == 0 && S_ISDIR(info.st_mode) && may_read(walk->confinement->user, &info))
            tn_tree_add(tree, TN_TREE_READ, folder, real);
    }
}

void tn_named_add(const struct tn_named *named, struct tn_confinement *confinement)
{
    struct walk walk = {.named = named, .confinement = confinement};

    show_settings(&walk, named->settings);
    for (size_t i = 0; i < named->manifest->file_count; i++)
        show_text(&walk, named->manifest->files[i]);
    for (size_t i = 0; i < named->manifest->environment_count; i++) {
        const char *name = named->manifest->environment[i];

        if (strcmp(name, "PATH") != 0)
            show_text(&walk, getenv(name));
        else if (confinement->tree != NULL)
            show_search_path(&walk);
    }
}
