/* libFuzzer target: an image's /etc/passwd and /etc/group, and the name by which a step asks for a user: the first
 * line. Both files have the rest of the input.
 *
 * decodes: executors/agent/users.c
 * max_len: 4096 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *file_text;

static FILE *open_text(const char *path, const char *mode)
{
    return file_text[0] != '\0' ? fmemopen(file_text, strlen(file_text), "r") : NULL;
}

#define fopen open_text
#include "executors/agent/users.c" /* the only one that reads these files */
#undef fopen

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = strndup((const char *)data, size);
    struct tn_user user;
    struct tn_err err = TN_ERR_INIT;

    if (text == NULL)
        return 0;
    file_text = text;
    strsep(&file_text, "\n");
    if (file_text == NULL)
        file_text = text + strlen(text);
    if (tn_user_find(text, &user, &err) != 0 ? err.text[0] == '\0'
                                             : user.group_count == 0 || user.group_count > TN_USER_GROUPS)
        abort();
    free(text);
    return 0;
}
