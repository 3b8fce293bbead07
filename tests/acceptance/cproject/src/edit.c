#include "text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

char *text_replace(const char *text, const char *from, const char *to)
{
    size_t from_length = strlen(from);
    size_t to_length = strlen(to);
    size_t count = 0;
    if (from_length == 0)
        return NULL;
    for (const char *at = text; (at = strstr(at, from)) != NULL; at += from_length)
        count++;
    char *result = malloc(strlen(text) - count * from_length + count * to_length + 1);
    if (result == NULL)
        return NULL;
    char *out = result;
    for (const char *next; (next = strstr(text, from)) != NULL; text = next + from_length) {
        out = mempcpy(out, text, (size_t)(next - text));
        out = mempcpy(out, to, to_length);
    }
    memcpy(out, text, strlen(text) + 1);
    return result;
}

char *text_wrap(const char *text, size_t width)
{
    char *result = strdup(text);
    if (result == NULL)
        return NULL;
    size_t line = 0;
    char *space = NULL;
    for (char *at = result; *at != '\0'; at++) {
        if (*at == ' ')
            space = at;
        line = *at == '\n' ? 0 : line + 1;
        if (line > width && space != NULL) {
            *space = '\n';
            line = (size_t)(at - space);
            space = NULL;
        }
    }
    return result;
}

size_t text_distance(const char *a, const char *b)
{
    size_t width = strlen(b);
    size_t *row = calloc(width + 1, sizeof *row);
    if (row == NULL)
        return SIZE_MAX;
    for (size_t j = 0; j <= width; j++)
        row[j] = j;
    for (size_t i = 1; *a != '\0'; a++, i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= width; j++) {
            size_t best = diagonal + (*a != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    size_t result = row[width];
    free(row);
    return result;
}
