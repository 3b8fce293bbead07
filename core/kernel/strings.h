/* NULL-terminated lists of strings for execve, made from JSON or piece by piece. */
#ifndef TN_KERNEL_STRINGS_H
#define TN_KERNEL_STRINGS_H

#include <cjson/cJSON.h>

enum { TN_STRINGS_ARGUMENTS_MAX = 1024, TN_STRINGS_ENVIRONMENT_MAX = 4096 };

/* `first`, then ["a", "b"] (NULL: nothing more). NULL if it is no such list, or too long. */
char **tn_strings_arguments(const char *first, const cJSON *list);
/* [["NAME", "value"], …] as NAME=value, the last of each name. NULL if it is no such list, or too long. */
char **tn_strings_environment(const cJSON *list);
void tn_strings_free(char **strings);

#endif
