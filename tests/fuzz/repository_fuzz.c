/* libFuzzer target: what git says of a remote, and the addresses of remotes. What is taken for an address can be no
 * option of git's and no command.
 *
 * decodes: core/lib/remote.c tools/repository.c tools/project.c
 * max_len: 4096 */
#include "core/lib/remote.h"
#include "tools/project.h"
#include "tools/repository.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_address(const char *text)
{
    struct tn_remote remote;
    struct tn_err err = TN_ERR_INIT;
    struct project project = {0};

    if (tn_remote_parse(text, &remote, &err) != 0) {
        if (err.code != TN_ERR_USAGE)
            abort();
    } else if (text[0] == '-' || strpbrk(text, " \t\r\n") != NULL || strstr(text, "::") == text ||
               remote.host[0] == '\0' || remote.host[0] == '-' || remote.path[0] == '\0') {
        abort();
    } else if (!tn_remote_is_host(&remote, remote.place)) {
        abort();
    }
    if (project_remote(&project, text) && (project.slug == NULL || project.slug[0] == '\0'))
        abort();
    project_free(&project);
}

static void read_refs(const char *text)
{
    struct repository_refs refs = {text};
    char revision[65];
    char branch[100];

    if (repository_refs_find(&refs, "refs/heads/main", revision) && strlen(revision) != 40 && strlen(revision) != 64)
        abort();
    if (repository_refs_head(&refs, branch, sizeof(branch)) && branch[0] == '\0')
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = strndup((const char *)data, size);

    if (text == NULL)
        return 0;
    read_address(text);
    read_refs(text);
    free(text);
    return 0;
}
