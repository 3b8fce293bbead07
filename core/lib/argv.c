#include "core/lib/argv.h"
#include "core/lib/buf.h"
#include "core/lib/log.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define BLANKS " \t\r\n"

size_t tn_argv_count(char *const *words)
{
    size_t count = 0;

    while (words != NULL && words[count] != NULL)
        count++;
    return count;
}

char **tn_argv_add(char **words, const char *word)
{
    size_t count = tn_argv_count(words);

    words = realloc(words, (count + 2) * sizeof(*words));
    if (words == NULL || (words[count] = strdup(word)) == NULL)
        tn_fatal(3, "out of memory: a command line");
    words[count + 1] = NULL;
    return words;
}

void tn_argv_free(char **words)
{
    for (size_t i = 0; words != NULL && words[i] != NULL; i++)
        free(words[i]);
    free(words);
}

/* One word at *text, which moves behind it. False: a quote or a backslash without its end. */
static bool take_word(const char **text, struct tn_buf *word)
{
    const char *c = *text;
    char quote = '\0';

    for (; *c != '\0' && (quote != '\0' || strchr(BLANKS, *c) == NULL); c++) {
        if (quote == '\0' && (*c == '\'' || *c == '"')) {
            quote = *c;
        } else if (*c == quote) {
            quote = '\0';
        } else if (*c == '\\' && quote != '\'') {
            if (c[1] == '\0')
                return false;
            /* Within double quotes a backslash is only special before these. */
            if (quote == '"' && strchr("\"\\$`", c[1]) == NULL)
                tn_buf_add(word, c, 1);
            tn_buf_add(word, ++c, 1);
        } else {
            tn_buf_add(word, c, 1);
        }
    }
    *text = c;
    return quote == '\0';
}

char **tn_argv_split(const char *line)
{
    char **words = NULL;

    for (;;) {
        auto_buf struct tn_buf word = TN_BUF_INIT;

        line += strspn(line, BLANKS);
        if (*line == '\0')
            return words;
        if (!take_word(&line, &word)) {
            tn_argv_free(words);
            return NULL;
        }
        words = tn_argv_add(words, word.data != NULL ? word.data : "");
    }
}
