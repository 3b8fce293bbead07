#include "tools/repository.h"

#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/known_hosts.h"
#include "core/lib/remote.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum { ANSWER_BYTES = 64 * 1024 };

/* What hosts call the refs of a pull request, and its page. */
static const struct request_form {
    const char *head, *merge, *page;
} request_forms[] = {{"refs/pull/%s/head", "refs/pull/%s/merge", "/pull/"},
                     {"refs/merge-requests/%s/head", "refs/merge-requests/%s/merge", "/-/merge_requests/"},
                     {"refs/pull-requests/%s/from", "refs/pull-requests/%s/merge", "/pull-requests/"}};

enum { REQUEST_FORMS = sizeof(request_forms) / sizeof(request_forms[0]) };

/* ---- what the remote answers ---- */

static bool is_revision(const char *text, size_t length)
{
    return (length == 40 || length == 64) && strspn(text, "0123456789abcdef") >= length;
}

/* The row "SHA<TAB>NAME". */
static const char *find_row(const char *text, const char *name)
{
    size_t length = strlen(name);

    for (const char *line = text; *line != '\0'; line = *line == '\n' ? line + 1 : line) {
        const char *end = strchrnul(line, '\n');
        const char *tab = memchr(line, '\t', (size_t)(end - line));

        if (tab != NULL && (size_t)(end - tab - 1) == length && strncmp(tab + 1, name, length) == 0 &&
            is_revision(line, (size_t)(tab - line)))
            return line;
        line = end;
    }
    return NULL;
}

bool repository_refs_find(const struct repository_refs *refs, const char *name, char out[65])
{
    auto_free char *peeled = tn_fs_path("%s^{}", name);
    const char *row = find_row(refs->text, peeled);

    if (row == NULL)
        row = find_row(refs->text, name);
    if (row == NULL)
        return false;
    snprintf(out, 65, "%.*s", (int)strcspn(row, "\t"), row);
    return true;
}

bool repository_refs_head(const struct repository_refs *refs, char *out, size_t size)
{
    static const char begin[] = "ref: refs/heads/";

    for (const char *line = refs->text; *line != '\0'; line = *line == '\n' ? line + 1 : line) {
        const char *end = strchrnul(line, '\n');
        const char *tab = memchr(line, '\t', (size_t)(end - line));

        if (tab != NULL && strncmp(line, begin, sizeof(begin) - 1) == 0 && end - tab == 5 &&
            strncmp(tab + 1, "HEAD", 4) == 0) {
            size_t length = (size_t)(tab - line) - (sizeof(begin) - 1);

            if (length == 0 || length >= size)
                return false;
            snprintf(out, size, "%.*s", (int)length, line + sizeof(begin) - 1);
            return true;
        }
        line = end;
    }
    return false;
}

/* ---- asking ---- */

static const cJSON *find_entry(const cJSON *settings, const char *list, const struct tn_remote *remote, bool every)
{
    const cJSON *entries = tn_json_get(tn_json_get(settings, "checkout"), list);
    const cJSON *entry;

    cJSON_ArrayForEach (entry, entries)
        if (tn_remote_is_host(remote, tn_json_string(entry, "host", "")))
            return entry;
    cJSON_ArrayForEach (entry, entries)
        if (every && strcmp(tn_json_string(entry, "host", ""), "*") == 0)
            return entry;
    return NULL;
}

static char *quoted(const char *text)
{
    struct tn_buf out = TN_BUF_INIT;

    tn_buf_adds(&out, "'");
    for (; *text != '\0'; text++)
        if (*text == '\'')
            tn_buf_adds(&out, "'\\''");
        else
            tn_buf_add(&out, text, 1);
    tn_buf_adds(&out, "'");
    return tn_buf_steal(&out);
}

/* The host keys that Tenon knows, as a file that git's ssh can open; -1: without them. */
static int known_hosts(void)
{
    int fd = memfd_create("known_hosts", MFD_CLOEXEC);

    if (fd >= 0 && tn_fs_write_all(fd, tn_known_hosts, strlen(tn_known_hosts), NULL) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static char *ssh_command(const cJSON *settings, const struct tn_remote *remote, int known)
{
    const char *file = tn_json_string(find_entry(settings, "keys", remote, true), "file", NULL);
    const char *hosts = tn_json_string(tn_json_get(settings, "checkout"), "known_hosts", "");
    auto_free char *list = tn_fs_path("UserKnownHostsFile=~/.ssh/known_hosts /proc/%d/fd/%d%s%s%s", (int)getpid(),
                                      known, hosts[0] != '\0' ? " \"" : "", hosts, hosts[0] != '\0' ? "\"" : "");
    auto_free char *list_quoted = quoted(list);
    auto_free char *key = quoted(file != NULL ? file : "");

    return tn_fs_path("ssh -o BatchMode=yes -o ConnectTimeout=30 -o StrictHostKeyChecking=yes -o %s%s%s", list_quoted,
                      file != NULL ? " -o IdentitiesOnly=yes -i " : "", file != NULL ? key : "");
}

/* "credential.SCOPE.helper=…": git asks it for the token; only the file's name is an argument. */
static char *helper_setting(const cJSON *settings, const struct tn_remote *remote)
{
    const cJSON *entry = find_entry(settings, "tokens", remote, false);
    auto_free char *user = quoted(tn_json_string(entry, "username", ""));
    auto_free char *file = quoted(tn_json_string(entry, "file", ""));

    if (entry == NULL || strncmp(remote->scheme, "http", 4) != 0)
        return NULL;
    return tn_fs_path("credential.%s://%s.helper=!f() { test \"$1\" = get && printf 'username=%%s\\npassword=' %s && "
                      "cat %s && echo; }; f",
                      remote->scheme, remote->place, user, file);
}

static int ask(const char *url, const cJSON *settings, const char *const *patterns, size_t count, struct tn_buf *out,
               struct tn_err *err)
{
    struct tn_remote remote;
    const char *arguments[16] = {"-c", "credential.helper=", "ls-remote", "--symref", "--", url};
    size_t used = 6;
    auto_free char *helper = NULL;
    auto_free char *ssh = NULL;
    auto_fd int known = known_hosts();
    int rc;

    if (tn_remote_parse(url, &remote, err) != 0)
        return -1;
    helper = helper_setting(settings, &remote);
    if (helper != NULL)
        arguments[1] = helper;
    else
        memmove(arguments, arguments + 2, (used -= 2) * sizeof(arguments[0]));
    for (size_t i = 0; i < count && used < sizeof(arguments) / sizeof(arguments[0]) - 1; i++)
        arguments[used++] = patterns[i];
    arguments[used] = NULL;
    ssh = ssh_command(settings, &remote, known);
    setenv("GIT_SSH_COMMAND", ssh, 1);
    setenv("GIT_TERMINAL_PROMPT", "0", 1);
    setenv("GIT_ASKPASS", "", 1);
    rc = project_git_said("/", arguments, ANSWER_BYTES, out, err);
    unsetenv("GIT_SSH_COMMAND");
    unsetenv("GIT_TERMINAL_PROMPT");
    unsetenv("GIT_ASKPASS");
    if (rc != 0 && err != NULL && err->code == TN_ERR_UNAVAILABLE) {
        while (out->len > 0 && strchr("\r\n", out->data[out->len - 1]) != NULL)
            out->data[--out->len] = '\0';
        return tn_err_set(err, TN_ERR_UNAVAILABLE,
                          "--repository %s: git cannot ask which revision is wanted (name it with --revision, and its "
                          "branch or tag):\n%.600s",
                          url, out->data != NULL ? out->data : "");
    }
    return rc;
}

/* ---- what was asked for ---- */

struct wanted {
    char revision[65];
    char branch[256]; /* "" with a tag */
    char ref[320];
    int request_form; /* of a pull request, else -1 */
};

/* "7" of 7, 7/head and 7/merge */
static void request_number(const char *request, char *out, size_t size)
{
    snprintf(out, size, "%.*s", (int)strcspn(request, "/"), request);
}

static bool is_merge(const char *request)
{
    return strstr(request, "/merge") != NULL;
}

static void request_ref(const char *request, int form, char *out, size_t size)
{
    char number[16];
    const char *pattern = is_merge(request) ? request_forms[form].merge : request_forms[form].head;

    request_number(request, number, sizeof(number));
    snprintf(out, size, "%.*s%s%s", (int)(strstr(pattern, "%s") - pattern), pattern, number, strstr(pattern, "%s") + 2);
}

static void name_request(const char *request, struct wanted *wanted)
{
    char number[16];

    request_number(request, number, sizeof(number));
    snprintf(wanted->branch, sizeof(wanted->branch), "pull/%s%s", number, is_merge(request) ? "/merge" : "");
}

static int choose(const struct options *options, const struct repository_refs *refs, struct wanted *wanted,
                  struct tn_err *err)
{
    const char *url = options->repository;

    if (options->pull_request != NULL) {
        name_request(options->pull_request, wanted);
        for (wanted->request_form = 0; wanted->request_form < REQUEST_FORMS; wanted->request_form++) {
            request_ref(options->pull_request, wanted->request_form, wanted->ref, sizeof(wanted->ref));
            if (repository_refs_find(refs, wanted->ref, wanted->revision))
                return 0;
        }
        return tn_err_set(err, TN_ERR_USAGE, "--pull-request %s: %s has no such pull request", options->pull_request,
                          url);
    }
    if (options->branch != NULL) {
        if (!repository_refs_find(refs, wanted->ref, wanted->revision))
            return tn_err_set(err, TN_ERR_USAGE, "--branch %s: %s has no such branch", options->branch, url);
    } else if (options->tag != NULL) {
        if (!repository_refs_find(refs, wanted->ref, wanted->revision))
            return tn_err_set(err, TN_ERR_USAGE, "--tag %s: %s has no such tag", options->tag, url);
    } else {
        if (!repository_refs_find(refs, "HEAD", wanted->revision) ||
            !repository_refs_head(refs, wanted->branch, sizeof(wanted->branch)))
            return tn_err_set(err, TN_ERR_USAGE,
                              "--repository %s: it says no branch of its own; name one with --branch", url);
        snprintf(wanted->ref, sizeof(wanted->ref), "refs/heads/%s", wanted->branch);
    }
    return 0;
}

static int find_wanted(const struct options *options, const cJSON *settings, struct wanted *wanted, struct tn_err *err)
{
    auto_buf struct tn_buf answer = TN_BUF_INIT;
    struct repository_refs refs;
    char requests[REQUEST_FORMS][64];
    auto_free char *peeled = NULL;
    const char *patterns[REQUEST_FORMS + 1] = {"HEAD"};
    size_t count = 1;

    if (options->branch != NULL) {
        snprintf(wanted->branch, sizeof(wanted->branch), "%s", options->branch);
        snprintf(wanted->ref, sizeof(wanted->ref), "refs/heads/%s", options->branch);
        patterns[count++] = wanted->ref;
    } else if (options->tag != NULL) {
        snprintf(wanted->ref, sizeof(wanted->ref), "refs/tags/%s", options->tag);
        peeled = tn_fs_path("%s^{}", wanted->ref); /* the commit of an annotated tag */
        patterns[count++] = wanted->ref;
        patterns[count++] = peeled;
    } else if (options->pull_request != NULL) {
        count = 0;
        for (int i = 0; i < REQUEST_FORMS; i++) {
            request_ref(options->pull_request, i, requests[i], sizeof(requests[i]));
            patterns[count++] = requests[i];
        }
    }
    if (options->revision != NULL && (options->branch != NULL || options->tag != NULL)) {
        snprintf(wanted->revision, sizeof(wanted->revision), "%s", options->revision);
        return 0; /* nothing is left to ask */
    }
    if (ask(options->repository, settings, patterns, count, &answer, err) != 0)
        return -1;
    refs.text = answer.data != NULL ? answer.data : "";
    if (choose(options, &refs, wanted, err) != 0)
        return -1;
    if (options->revision != NULL)
        snprintf(wanted->revision, sizeof(wanted->revision), "%s", options->revision);
    return 0;
}

static void add_request(cJSON *checkout, const struct options *options, const struct wanted *wanted,
                        const struct project *project)
{
    struct tn_remote remote;
    char number[16];
    auto_free char *page = NULL;

    request_number(options->pull_request, number, sizeof(number));
    cJSON_AddStringToObject(checkout, "pull_request", number);
    if (tn_remote_parse(options->repository, &remote, NULL) != 0)
        return;
    page = tn_fs_path("%s://%s/%s/%s%s%s", strcmp(remote.scheme, "http") == 0 ? "http" : "https",
                      strncmp(remote.scheme, "http", 4) == 0 ? remote.place : remote.host, project->username,
                      project->reponame, request_forms[wanted->request_form].page, number);
    cJSON_AddStringToObject(checkout, "pull_request_url", page);
}

cJSON *repository_find(const struct options *options, const cJSON *settings, struct project *project,
                       struct tn_err *err)
{
    struct wanted wanted = {.request_form = -1};
    cJSON *checkout;

    if (find_wanted(options, settings, &wanted, err) != 0)
        return NULL;
    project_use(project, options->repository, wanted.branch, options->tag != NULL ? options->tag : "", wanted.revision);
    checkout = cJSON_CreateObject();
    cJSON_AddStringToObject(checkout, "url", project->repository_url);
    cJSON_AddStringToObject(checkout, "ref", wanted.ref);
    cJSON_AddStringToObject(checkout, "name", wanted.branch[0] != '\0' ? wanted.branch : options->tag);
    cJSON_AddStringToObject(checkout, "branch", wanted.branch);
    cJSON_AddStringToObject(checkout, "tag", options->tag != NULL ? options->tag : "");
    cJSON_AddStringToObject(checkout, "revision", wanted.revision);
    if (wanted.request_form >= 0)
        add_request(checkout, options, &wanted, project);
    return checkout;
}
