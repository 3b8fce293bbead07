#include "executors/sdk/words.h"
#include "core/lib/buf.h"
#include "core/lib/log.h"

#include <stdlib.h>
#include <string.h>

size_t tn_words_count(char *const *words)
{
    size_t count = 0;

    while (words != NULL && words[count] != NULL)
        count++;
    return count;
}

char **tn_words_add(char **words, const char *word)
{
    size_t count = tn_words_count(words);

    words = realloc(words, (count + 2) * sizeof(*words));
    if (words == NULL || (words[count] = strdup(word)) == NULL)
        tn_fatal(3, "out of memory: a command line");
    words[count + 1] = NULL;
    return words;
}

void tn_words_free(char **words)
{
    for (size_t i = 0; words != NULL && words[i] != NULL; i++)
        free(words[i]);
    free(words);
}

/* Takes one word from *at, which stands on its first character. False if a quote is not closed. */
static int take_word(const char **at, struct tn_buf *word)
{
    char quote = '\0';

    tn_buf_add(word, "", 0);
    for (; **at != '\0' && (quote != '\0' || strchr(" \t\n", **at) == NULL); (*at)++) {
        if (**at == quote) {
            quote = '\0';
        } else if (quote == '\0' && (**at == '\'' || **at == '"')) {
            quote = **at;
        } else {
            if (**at == '\\' && quote != '\'' && (*at)[1] != '\0')
                (*at)++;
            tn_buf_add(word, *at, 1);
        }
    }
    return quote == '\0';
}

char **tn_words_split(const char *line)
{
    char **words = NULL;

    for (;;) {
        auto_buf struct tn_buf word = TN_BUF_INIT;

        line += strspn(line, " \t\n");
        if (*line == '\0')
            return words;
        if (!take_word(&line, &word)) {
            tn_words_free(words);
            return NULL;
        }
        words = tn_words_add(words, word.data);
    }
}
