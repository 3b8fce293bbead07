/* What a remote's URL says of a project, and what git says of real repositories. */
#include "core/lib/fs.h"
#include "tests/unit/check.h"
#include "tools/project.h"

#include <stdlib.h>
#include <unistd.h>

static void remote(const char *url, const char *slug, const char *public_url)
{
    struct project project;

    memset(&project, 0, sizeof(project));
    CHECK(project_remote(&project, url));
    CHECK_STR(project.slug, slug);
    CHECK_STR(project.repository_url, public_url);
    project_free(&project);
}

static void no_remote(const char *url)
{
    struct project project;

    memset(&project, 0, sizeof(project));
    CHECK(!project_remote(&project, url));
    project_free(&project);
}

static void remotes(void)
{
    remote("git@github.com:org/repo.git", "gh/org/repo", "git@github.com:org/repo.git");
    remote("https://github.com/org/repo", "gh/org/repo", "https://github.com/org/repo");
    remote("https://user:secret@github.com/org/repo.git/", "gh/org/repo", "https://github.com/org/repo.git/");
    remote("ssh://git@bitbucket.org:22/org/repo.git", "bb/org/repo", "ssh://git@bitbucket.org:22/org/repo.git");
    remote("https://git.example.com:8443/group/sub/repo.git", "git.example.com/group/sub/repo",
           "https://git.example.com:8443/group/sub/repo.git");
    no_remote("");
    no_remote("/srv/git/repo.git");
    no_remote("../repo");
    no_remote("file:///srv/git/repo.git");
    no_remote("https://github.com/repo");
    no_remote("https://github.com");
    no_remote("git@github.com:repo.git");
    no_remote("https://github.com/org/");
}

/* What `--repository` names is the project, whatever lies around. */
static void use(const char *url, const char *slug, const char *public_url)
{
    struct project project;
    struct tn_err err = TN_ERR_INIT;

    CHECK_INT(project_find(&project, "/", &err), 0);
    project_use(&project, url, "main", "", "abc");
    CHECK_STR(project.branch, "main");
    CHECK_STR(project.tag, "");
    CHECK_STR(project.revision, "abc");
    CHECK_STR(project.slug, slug);
    CHECK_STR(project.repository_url, public_url);
    project_free(&project);
}

static void uses(void)
{
    use("https://user@github.com/org/repo.git", "gh/org/repo", "https://github.com/org/repo.git");
    use("git://host:9418/repo.git", "host/repo", "git://host:9418/repo.git");
    use("git@host:repo", "host/repo", "git@host:repo");
    use("ssh://git@host:22/srv/git/", "host/srv/git", "ssh://git@host:22/srv/git/");
}

static void git(const char *folder, const char *const *arguments)
{
    struct tn_buf out = TN_BUF_INIT;
    struct tn_err err = TN_ERR_INIT;

    CHECK_INT(project_git(folder, arguments, 65536, &out, &err), 0);
    CHECK_STR(err.text, "");
    tn_buf_free(&out);
}

#define GIT(folder, ...) git(folder, (const char *const[]){__VA_ARGS__, NULL})

static void repository(const char *top)
{
    char *folder = tn_fs_path("%s/my-project/sub", top);
    char *root = tn_fs_path("%s/my-project", top);
    char *config = tn_fs_path("%s/my-project/.circleci/config.yml", top);
    char *circleci = tn_fs_path("%s/my-project/.circleci", top);
    char *found;
    struct project project;
    struct tn_err err = TN_ERR_INIT;

    CHECK_INT(tn_fs_make_dirs(folder, 0755, &err), 0);
    CHECK_INT(project_find(&project, folder, &err), 0);
    CHECK(!project.is_git);
    CHECK_STR(project.root, folder);
    CHECK(project_config(&project, folder, &err) == NULL);
    CHECK_INT(err.code, TN_ERR_USAGE);
    CHECK(strstr(err.text, ".circleci/config.yml") != NULL);
    project_free(&project);

    GIT(root, "init", "--quiet", "--initial-branch=topic");
    CHECK_INT(project_find(&project, folder, &err), 0);
    CHECK(project.is_git && project.has_git);
    CHECK_STR(project.root, root);
    CHECK_STR(project.branch, "topic");
    CHECK_STR(project.revision, "");
    CHECK_STR(project.reponame, "my-project");
    project_free(&project);

    GIT(root, "remote", "add", "origin", "https://u:p@github.com/org/repo.git");
    GIT(root, "-c", "user.name=T", "-c", "user.email=t@example.com", "commit", "-q", "--allow-empty", "-m", "x");
    GIT(root, "tag", "v1");
    CHECK_INT(tn_fs_make_dirs(circleci, 0755, &err), 0);
    CHECK_INT(tn_fs_write_atomic(config, "x", 1, 0644, &err), 0);
    CHECK_INT(project_find(&project, folder, &err), 0);
    CHECK_STR(project.branch, "topic");
    CHECK_INT(strlen(project.revision), 40);
    CHECK_STR(project.tag, ""); /* of the branch, not of the tag */
    CHECK_STR(project.slug, "gh/org/repo");
    CHECK_STR(project.repository_url, "https://github.com/org/repo.git");
    found = project_config(&project, folder, &err);
    CHECK_STR(found, config);
    free(found);
    project_free(&project);

    GIT(root, "checkout", "-q", "--detach");
    CHECK_INT(project_find(&project, root, &err), 0);
    CHECK_STR(project.branch, "");
    CHECK_STR(project.tag, "v1");
    project_free(&project);
    free(folder);
    free(root);
    free(config);
    free(circleci);
}

int main(void)
{
    const char *tmp = getenv("TMPDIR");
    char *top = tn_fs_path("%s/project.XXXXXX", tmp != NULL ? tmp : "/tmp");
    char *real;
    struct tn_err err = TN_ERR_INIT;

    setenv("GIT_CONFIG_GLOBAL", "/dev/null", 1);
    remotes();
    uses();
    CHECK(mkdtemp(top) != NULL);
    real = realpath(top, NULL);
    repository(real);
    CHECK_INT(tn_fs_remove_tree(top, &err), 0);
    free(real);
    free(top);
    return tn_check_result();
}
