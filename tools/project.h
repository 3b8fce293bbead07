/* The project that is run: where its root and its config are, and what git says of it. */
#ifndef TN_TOOLS_PROJECT_H
#define TN_TOOLS_PROJECT_H

#include "core/lib/buf.h"
#include "core/lib/err.h"

#include <stdbool.h>
#include <stddef.h>

/* Strings are owned and never NULL; "" when there is nothing. */
struct project {
    char *root;           /* absolute: the git checkout's root, else the folder that `tenon run` was called in */
    bool is_git;          /* there is a .git in the root */
    bool has_git;         /* the git program is installed and works in the root */
    char *branch;         /* "" when HEAD is detached */
    char *revision;       /* 40 digits, "" before the first commit */
    char *tag;            /* of a detached HEAD */
    char *repository_url; /* without user and password */
    char *slug;           /* "gh/owner/name"; "local/user/folder" without a remote */
    char *username;
    char *reponame;
};

/* `folder` is where the command was called. Blocks while git runs (milliseconds). */
int project_find(struct project *project, const char *folder, struct tn_err *err) TN_MUST_CHECK;
void project_free(struct project *project);
/* Path of .circleci/config.yml, looked for from `folder` upwards to the root; NULL and an error when there is none.
 * The caller frees it. */
char *project_config(const struct project *project, const char *folder, struct tn_err *err);

/* Takes a remote's URL apart: fills repository_url, slug, username and reponame. False if it is not of a form that has
 * an owner and a name. Pure. */
bool project_remote(struct project *project, const char *url);

/* Makes it the project of a remote repository, of which branch or tag is wanted ("": not that). Pure. */
void project_use(struct project *project, const char *url, const char *branch, const char *tag, const char *revision);

/* Runs git with `arguments` (NULL at the end) in `folder` and collects what it writes, at most `limit` bytes. Never
 * runs a program that the repository names. TN_ERR_NOT_FOUND when git is not installed, TN_ERR_UNAVAILABLE when it ends
 * with another status than 0. Blocks. */
int project_git(const char *folder, const char *const *arguments, size_t limit, struct tn_buf *out,
                struct tn_err *err) TN_MUST_CHECK;
/* The same with what it writes to standard error in between, and in `out` also when it fails. */
int project_git_said(const char *folder, const char *const *arguments, size_t limit, struct tn_buf *out,
                     struct tn_err *err) TN_MUST_CHECK;

#endif
