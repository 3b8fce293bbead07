#include "tools/source_list.h"

#include "core/lib/buf.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DEPTH_MAX = 200, MODULE_DEPTH_MAX = 8, ITEMS_MAX = 10 * 1000 * 1000, LISTING_BYTES = 512 * 1024 * 1024 };

static int add(struct source_list *list, char *path, char *name, bool config, struct tn_err *err)
{
    if (list->count == ITEMS_MAX)
        return tn_err_set(err, TN_ERR_LIMIT, "there are more than %d files in the working tree", ITEMS_MAX);
    if (list->count == list->size) {
        size_t size = list->size == 0 ? 256 : list->size * 2;
        struct source_item *items = reallocarray(list->items, size, sizeof(*items));

        if (items == NULL)
            tn_fatal(3, "out of memory: %zu files of the working tree", size);
        list->items = items;
        list->size = size;
    }
    list->items[list->count++] = (struct source_item){path, name, config};
    return 0;
}

void source_list_free(struct source_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].path);
        free(list->items[i].name);
    }
    free(list->items);
    memset(list, 0, sizeof(*list));
}

typedef bool skip_fn(const char *name, bool is_dir, bool top);

/* Everything below `folder`, under `prefix` in the tar. `skip` may be NULL. A folder that cannot be read is an error:
 * a checkout that silently misses files would be worse. */
static int walk(struct source_list *list, const char *folder, const char *prefix, skip_fn *skip, int depth,
                struct tn_err *err)
{
    auto_dir DIR *dir = opendir(folder);
    const struct dirent *entry;

    if (dir == NULL)
        return tn_err_sys(err, errno, "cannot read the folder %s", folder);
    if (depth > DEPTH_MAX)
        return tn_err_set(err, TN_ERR_LIMIT, "%s: folders are nested deeper than %d", folder, DEPTH_MAX);
    while ((entry = readdir(dir)) != NULL) {
        auto_free char *path = NULL;
        auto_free char *name = NULL;
        struct stat status;
        bool is_dir;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        path = tn_fs_path("%s/%s", folder, entry->d_name);
        name = tn_fs_path("%s%s%s", prefix, prefix[0] != '\0' ? "/" : "", entry->d_name);
        if (lstat(path, &status) != 0)
            continue; /* gone since it was listed */
        is_dir = S_ISDIR(status.st_mode);
        if ((!is_dir && !S_ISREG(status.st_mode) && !S_ISLNK(status.st_mode)) ||
            (skip != NULL && skip(entry->d_name, is_dir, depth == 0)))
            continue;
        if (is_dir && walk(list, path, name, skip, depth + 1, err) != 0)
            return -1;
        if (add(list, steal_ptr(&path), steal_ptr(&name), false, err) != 0)
            return -1;
    }
    return 0;
}

/* ---- .git ---- */

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text);

    return length >= strlen(end) && strcmp(text + length - strlen(end), end) == 0;
}

/* Locks belong to commands that run here. Borrowed objects are copied in, so what names them must not come along. */
static bool skip_in_git(const char *name, bool is_dir, bool top)
{
    return (!is_dir && ends_with(name, ".lock")) || (top && is_dir && strcmp(name, "worktrees") == 0) ||
           strcmp(name, "alternates") == 0;
}

static bool skip_in_git_with_config(const char *name, bool is_dir, bool top)
{
    return skip_in_git(name, is_dir, top) || (top && strcmp(name, "config") == 0);
}

/* Of the folder that worktrees share: not what each worktree has for itself. */
static bool skip_in_common(const char *name, bool is_dir, bool top)
{
    return skip_in_git_with_config(name, is_dir, top) ||
           (top && !is_dir && (strcmp(name, "index") == 0 || ends_with(name, "HEAD")));
}

static bool skip_in_worktree(const char *name, bool is_dir, bool top)
{
    return skip_in_git(name, is_dir, top) ||
           (top && (strcmp(name, "commondir") == 0 || strcmp(name, "gitdir") == 0 || strcmp(name, "locked") == 0));
}

static char *git_path(const char *folder, const char *what)
{
    struct tn_buf out = TN_BUF_INIT;
    char *path;

    if (project_git(folder, (const char *const[]){"rev-parse", what, NULL}, 65536, &out, NULL) != 0) {
        tn_buf_free(&out);
        return NULL;
    }
    path = tn_buf_steal(&out);
    path[strcspn(path, "\n")] = '\0';
    if (path[0] != '/') {
        char *absolute = tn_fs_path("%s/%s", folder, path);

        free(path);
        path = absolute;
    }
    return path;
}

static int add_config(struct source_list *list, const char *git_folder, const char *prefix, struct tn_err *err)
{
    auto_free char *path = tn_fs_path("%s/config", git_folder);

    if (access(path, F_OK) != 0)
        return 0;
    return add(list, steal_ptr(&path), tn_fs_path("%s/config", prefix), true, err);
}

/* Objects that the repository borrows from others (git clone --shared) are put among its own. */
static int add_borrowed(struct source_list *list, const char *git_folder, const char *prefix, int depth,
                        struct tn_err *err)
{
    auto_free char *path = tn_fs_path("%s/objects/info/alternates", git_folder);
    auto_free char *name = tn_fs_path("%s/objects", prefix);
    auto_buf struct tn_buf text = TN_BUF_INIT;
    char *rest;
    char *line;

    if (access(path, F_OK) != 0)
        return 0;
    if (tn_fs_read(path, 65536, &text, err) != 0)
        return -1;
    rest = text.data;
    while ((line = strsep(&rest, "\n")) != NULL) {
        auto_free char *objects =
            line[0] == '/' ? tn_fs_path("%s", line) : tn_fs_path("%s/objects/%s", git_folder, line);
        auto_free char *above = tn_fs_path("%s/..", objects);

        if (line[0] == '\0' || line[0] == '#')
            continue;
        if (walk(list, objects, name, skip_in_git, 1, err) != 0)
            return tn_err_wrap(err, "objects that %s names", path);
        if (depth < MODULE_DEPTH_MAX && add_borrowed(list, above, prefix, depth + 1, err) != 0)
            return -1;
    }
    return 0;
}

static int add_linked_git(struct source_list *list, const char *root, const char *prefix, struct tn_err *err)
{
    auto_free char *own = git_path(root, "--git-dir");
    auto_free char *common = git_path(root, "--git-common-dir");
    auto_free char *own_real = own != NULL ? realpath(own, NULL) : NULL;
    auto_free char *common_real = common != NULL ? realpath(common, NULL) : NULL;

    if (own_real == NULL || common_real == NULL)
        return tn_err_set(err, TN_ERR_UNAVAILABLE,
                          "%s/.git names a repository that git cannot open; repair it, or delete that file", root);
    if (add_config(list, common_real, prefix, err) != 0 || add_borrowed(list, common_real, prefix, 0, err) != 0)
        return -1;
    if (strcmp(own_real, common_real) == 0)
        return walk(list, own_real, prefix, skip_in_git_with_config, 0, err);
    if (walk(list, common_real, prefix, skip_in_common, 0, err) != 0)
        return -1;
    return walk(list, own_real, prefix, skip_in_worktree, 0, err); /* behind the shared ones: the later file counts */
}

static int add_git(struct source_list *list, const char *root, struct tn_err *err)
{
    auto_free char *path = tn_fs_path("%s/.git", root);
    struct stat status;

    if (lstat(path, &status) != 0)
        return 0;
    if (!S_ISDIR(status.st_mode))
        return add_linked_git(list, root, ".git", err);
    if (add_borrowed(list, path, ".git", 0, err) != 0)
        return -1;
    return walk(list, path, ".git", skip_in_git, 0, err);
}

/* ---- the files ---- */

static int add_tracked(struct source_list *list, const char *root, const char *prefix, int depth, struct tn_err *err);

static int add_listed(struct source_list *list, const char *root, const char *prefix, const char *file, int depth,
                      struct tn_err *err)
{
    auto_free char *path = tn_fs_path("%s/%s", root, file);
    auto_free char *name = tn_fs_path("%s%s", prefix, file);
    auto_free char *inner = NULL;
    auto_free char *inner_prefix = NULL;
    size_t length = strlen(name);
    struct stat status;

    if (lstat(path, &status) != 0)
        return 0; /* deleted, and not committed yet */
    if (!S_ISDIR(status.st_mode))
        return S_ISREG(status.st_mode) || S_ISLNK(status.st_mode)
                   ? add(list, steal_ptr(&path), steal_ptr(&name), false, err)
                   : 0;
    /* A submodule, or a repository of its own in the tree. One that is not initialised is an empty folder. */
    while (length > 1 && name[length - 1] == '/')
        name[--length] = '\0';
    inner = tn_fs_path("%s/.git", path);
    inner_prefix = tn_fs_path("%s/", name);
    if (access(inner, F_OK) != 0 || depth >= MODULE_DEPTH_MAX)
        return add(list, steal_ptr(&path), steal_ptr(&name), false, err);
    if (lstat(inner, &status) == 0 && S_ISDIR(status.st_mode)) {
        auto_free char *inner_name = tn_fs_path("%s/.git", name);

        if (walk(list, inner, inner_name, skip_in_git, 0, err) != 0)
            return -1;
    } else if (add(list, steal_ptr(&inner), tn_fs_path("%s/.git", name), false, err) != 0) {
        return -1; /* it names a folder in the outer .git, which comes along */
    }
    return add_tracked(list, path, inner_prefix, depth + 1, err);
}

static int add_tracked(struct source_list *list, const char *root, const char *prefix, int depth, struct tn_err *err)
{
    const char *const command[] = {"ls-files",      "-z", "--cached", "--others", "--exclude-standard",
                                   "--deduplicate", NULL};
    auto_buf struct tn_buf out = TN_BUF_INIT;

    if (project_git(root, command, LISTING_BYTES, &out, err) != 0)
        return -1;
    for (size_t at = 0; at < out.len; at += strlen(out.data + at) + 1)
        if (add_listed(list, root, prefix, out.data + at, depth, err) != 0)
            return -1;
    return 0;
}

int source_list_make(struct source_list *list, const struct project *project, struct tn_err *err)
{
    memset(list, 0, sizeof(*list));
    if (!project->is_git || !project->has_git)
        return walk(list, project->root, "", NULL, 0, err);
    if (add_git(list, project->root, err) != 0)
        return -1;
    return add_tracked(list, project->root, "", 0, err);
}
