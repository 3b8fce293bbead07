#include "tools/project.h"

#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/remote.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { GIT_ARGUMENTS_MAX = 24, FACT_BYTES = 4096 };

extern char **environ;

/* ---- the git program ---- */

static int spawn_git(const char *const *arguments, const char *folder, int out, bool with_errors, pid_t *pid)
{
    /* A repository's own settings may name programs; what could run here is turned off. Ownership of the checkout by
     * another user is no reason to refuse: nothing of it is run. */
    const char *argv[GIT_ARGUMENTS_MAX] = {"git", "-C", folder, "-c", "safe.directory=*", "-c", "core.fsmonitor=false"};
    size_t count = 7;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t set;
    int rc;

    while (*arguments != NULL && count < GIT_ARGUMENTS_MAX - 1)
        argv[count++] = *arguments++;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    if (with_errors)
        posix_spawn_file_actions_adddup2(&actions, out, STDERR_FILENO);
    else
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawnattr_init(&attributes);
    sigemptyset(&set);
    posix_spawnattr_setsigmask(&attributes, &set);
    sigaddset(&set, SIGPIPE);
    posix_spawnattr_setsigdefault(&attributes, &set);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    rc = posix_spawnp(pid, "git", &actions, &attributes, (char *const *)argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

static int read_all(int fd, size_t limit, struct tn_buf *out, struct tn_err *err)
{
    for (;;) {
        ssize_t got = read(fd, tn_buf_reserve(out, 65536), 65536);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return tn_err_sys(err, errno, "cannot read what git writes");
        if (got == 0)
            return 0;
        out->len += (size_t)got;
        out->data[out->len] = '\0';
        if (out->len > limit)
            return tn_err_set(err, TN_ERR_LIMIT, "git writes more than %zu bytes", limit);
    }
}

static int run_git(const char *folder, const char *const *arguments, bool with_errors, size_t limit, struct tn_buf *out,
                   struct tn_err *err)
{
    int ends[2];
    pid_t pid;
    int status = 0;
    int rc;

    if (pipe2(ends, O_CLOEXEC) != 0)
        return tn_err_sys(err, errno, "cannot make a pipe for git");
    rc = spawn_git(arguments, folder, ends[1], with_errors, &pid);
    close(ends[1]);
    if (rc != 0) {
        close(ends[0]);
        return rc == ENOENT ? tn_err_set(err, TN_ERR_NOT_FOUND, "git is not installed")
                            : tn_err_sys(err, rc, "cannot start git");
    }
    rc = read_all(ends[0], limit, out, err);
    close(ends[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (rc != 0)
        return -1;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return tn_err_set(err, TN_ERR_UNAVAILABLE, "git %s failed in %s", arguments[0], folder);
    return 0;
}

int project_git(const char *folder, const char *const *arguments, size_t limit, struct tn_buf *out, struct tn_err *err)
{
    return run_git(folder, arguments, false, limit, out, err);
}

int project_git_said(const char *folder, const char *const *arguments, size_t limit, struct tn_buf *out,
                     struct tn_err *err)
{
    return run_git(folder, arguments, true, limit, out, err);
}

/* One line that git says, "" when it says nothing; `*works` gets whether git could be started. */
static char *git_line(const char *folder, const char *const *arguments, bool *works)
{
    struct tn_buf out = TN_BUF_INIT;
    struct tn_err err = TN_ERR_INIT;
    int rc = project_git(folder, arguments, FACT_BYTES, &out, &err);

    if (works != NULL)
        *works = rc == 0 || err.code == TN_ERR_UNAVAILABLE;
    if (rc != 0)
        tn_buf_reset(&out);
    tn_buf_adds(&out, "");
    if (out.data != NULL)
        out.data[strcspn(out.data, "\n")] = '\0';
    return tn_buf_steal(&out);
}

/* ---- where things are ---- */

static bool exists(const char *folder, const char *name)
{
    auto_free char *path = tn_fs_path("%s/%s", strcmp(folder, "/") == 0 ? "" : folder, name);

    return access(path, F_OK) == 0;
}

/* The folder above, in place; false at the top. */
static bool go_up(char *path)
{
    char *slash = strrchr(path, '/');

    if (slash == NULL || strcmp(path, "/") == 0)
        return false;
    if (slash == path)
        slash++;
    *slash = '\0';
    return true;
}

static char *find_root(const char *folder)
{
    auto_free char *at = tn_fs_path("%s", folder);

    do {
        if (exists(at, ".git"))
            return steal_ptr(&at);
    } while (go_up(at));
    return NULL;
}

char *project_config(const struct project *project, const char *folder, struct tn_err *err)
{
    auto_free char *begin = realpath(folder, NULL);
    auto_free char *at = begin != NULL ? tn_fs_path("%s", begin) : NULL;

    if (at == NULL) {
        tn_err_sys(err, errno, "cannot enter %s", folder);
        return NULL;
    }
    do {
        /* One that may not be seen is named by who tries to read it. */
        if (exists(at, ".circleci/config.yml") || errno == EACCES)
            return tn_fs_path("%s/.circleci/config.yml", strcmp(at, "/") == 0 ? "" : at);
        if (strcmp(at, project->root) == 0)
            break;
    } while (go_up(at));
    tn_err_set(err, TN_ERR_USAGE,
               "there is no .circleci/config.yml in %s%s; go to a project that has one, or name the file with -c",
               begin, strcmp(begin, project->root) == 0 ? "" : " or above it");
    return NULL;
}

/* ---- facts ---- */

static void replace(char **text, char *owned)
{
    free(*text);
    *text = owned;
}

/* The short name of a host in slugs. */
static const char *host_slug(const char *host, size_t length)
{
    if (length == 10 && strncmp(host, "github.com", length) == 0)
        return "gh";
    if (length == 13 && strncmp(host, "bitbucket.org", length) == 0)
        return "bb";
    return NULL;
}

/* Where host and path begin in "scheme://[user[:password]@]host[:port]/path" and in "[user@]host:path". */
static bool split_url(const char *url, const char **host, size_t *host_length, const char **path)
{
    const char *scheme = strstr(url, "://");
    const char *begin = scheme != NULL ? scheme + 3 : url;
    const char *end = begin + strcspn(begin, scheme != NULL ? "/" : ":/");
    const char *at = memrchr(begin, '@', (size_t)(end - begin));

    if (*end == '\0' || (scheme == NULL && *end != ':') || strncmp(url, "file:", 5) == 0)
        return false;
    *host = at != NULL ? at + 1 : begin;
    *path = end + 1;
    *host_length = strcspn(*host, ":/");
    return *host_length > 0;
}

/* The URL without what stands before the host, unless it is the fixed user of SSH. */
static char *public_url(const char *url, const char *host)
{
    const char *scheme = strstr(url, "://");

    if (scheme == NULL || strncmp(url, "ssh:", 4) == 0)
        return tn_fs_path("%s", url);
    return tn_fs_path("%.*s%s", (int)(scheme + 3 - url), url, host);
}

bool project_remote(struct project *project, const char *url)
{
    const char *host;
    const char *path;
    const char *name;
    const char *short_host;
    size_t host_length;
    size_t length;

    if (!split_url(url, &host, &host_length, &path))
        return false;
    path += strspn(path, "/");
    length = strlen(path);
    while (length > 0 && path[length - 1] == '/')
        length--;
    if (length > 4 && strncmp(path + length - 4, ".git", 4) == 0)
        length -= 4;
    name = memrchr(path, '/', length);
    if (name == NULL || name == path || name + 1 == path + length)
        return false;
    replace(&project->repository_url, public_url(url, host));
    replace(&project->username, tn_fs_path("%.*s", (int)(name - path), path));
    replace(&project->reponame, tn_fs_path("%.*s", (int)(path + length - name - 1), name + 1));
    short_host = host_slug(host, host_length);
    if (short_host != NULL)
        replace(&project->slug, tn_fs_path("%s/%.*s", short_host, (int)length, path));
    else
        replace(&project->slug, tn_fs_path("%.*s/%.*s", (int)host_length, host, (int)length, path));
    return true;
}

static void local_names(struct project *project)
{
    const struct passwd *user = getpwuid(getuid());
    const char *folder = strrchr(project->root, '/');

    replace(&project->username, tn_fs_path("%s", user != NULL ? user->pw_name : "user"));
    replace(&project->reponame, tn_fs_path("%s", folder != NULL && folder[1] != '\0' ? folder + 1 : "project"));
    replace(&project->slug, tn_fs_path("local/%s/%s", project->username, project->reponame));
}

static void ask_git(struct project *project)
{
    auto_free char *remote = NULL;

    replace(&project->branch,
            git_line(project->root, (const char *const[]){"symbolic-ref", "-q", "--short", "HEAD", NULL},
                     &project->has_git));
    if (!project->has_git)
        return;
    replace(&project->revision,
            git_line(project->root, (const char *const[]){"rev-parse", "-q", "--verify", "HEAD^{commit}", NULL}, NULL));
    /* A pipeline is of a branch or of a tag: with a branch checked out it is the branch, tagged or not. */
    if (project->branch[0] == '\0' && project->revision[0] != '\0')
        replace(
            &project->tag,
            git_line(project->root, (const char *const[]){"describe", "--tags", "--exact-match", "HEAD", NULL}, NULL));
    remote = git_line(project->root, (const char *const[]){"config", "--get", "remote.origin.url", NULL}, NULL);
    if (!project_remote(project, remote) && strstr(remote, "://") == NULL)
        replace(&project->repository_url, steal_ptr(&remote));
}

int project_find(struct project *project, const char *folder, struct tn_err *err)
{
    char **texts[] = {&project->branch, &project->revision, &project->tag,     &project->repository_url,
                      &project->slug,   &project->username, &project->reponame};
    auto_free char *absolute = realpath(folder, NULL);

    memset(project, 0, sizeof(*project));
    if (absolute == NULL)
        return tn_err_sys(err, errno, "cannot enter %s", folder);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        *texts[i] = tn_fs_path("%s", "");
    project->root = find_root(absolute);
    project->is_git = project->root != NULL;
    if (project->root == NULL)
        project->root = steal_ptr(&absolute);
    local_names(project);
    if (project->is_git)
        ask_git(project);
    return 0;
}

void project_use(struct project *project, const char *url, const char *branch, const char *tag, const char *revision)
{
    replace(&project->branch, tn_fs_path("%s", branch));
    replace(&project->tag, tn_fs_path("%s", tag));
    replace(&project->revision, tn_fs_path("%s", revision));
    if (!project_remote(project, url)) {
        /* A path without an owner, as small servers have: the host stands for it. */
        struct tn_remote remote;
        size_t length;
        const char *name;

        if (tn_remote_parse(url, &remote, NULL) != 0)
            return;
        length = strlen(remote.path);
        while (length > 0 && remote.path[length - 1] == '/')
            length--;
        if (length > 4 && strncmp(remote.path + length - 4, ".git", 4) == 0)
            length -= 4;
        name = memrchr(remote.path, '/', length);
        name = name != NULL ? name + 1 : remote.path;
        replace(&project->repository_url, tn_fs_path("%s", url));
        replace(&project->username, tn_fs_path("%s", remote.host));
        replace(&project->reponame, tn_fs_path("%.*s", (int)(remote.path + length - name), name));
        replace(&project->slug, tn_fs_path("%s/%s", remote.host, project->reponame));
    }
}

void project_free(struct project *project)
{
    free(project->root);
    free(project->branch);
    free(project->revision);
    free(project->tag);
    free(project->repository_url);
    free(project->slug);
    free(project->username);
    free(project->reponame);
    memset(project, 0, sizeof(*project));
}
