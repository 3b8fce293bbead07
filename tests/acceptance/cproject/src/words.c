#include "text.h"

#include <ctype.h>
#include <string.h>

size_t text_trim(const char *text, const char **start)
{
    while (isspace((unsigned char)*text))
        text++;
    size_t length = strlen(text);
    while (length > 0 && isspace((unsigned char)text[length - 1]))
        length--;
    *start = text;
    return length;
}

size_t text_count_words(const char *text)
{
    size_t count = 0;
    bool inside = false;
    for (; *text != '\0'; text++) {
        bool space = isspace((unsigned char)*text) != 0;
        if (!space && !inside)
            count++;
        inside = !space;
    }
    return count;
}

bool text_match(const char *pattern, const char *text)
{
    const char *star = NULL;
    const char *retry = NULL;
    while (*text != '\0') {
        if (*pattern == '*') {
            star = pattern++;
            retry = text;
        } else if (*pattern == '?' || *pattern == *text) {
            pattern++;
            text++;
        } else if (star != NULL) {
            pattern = star + 1;
            text = ++retry;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}
