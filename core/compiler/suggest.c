#include "core/compiler/suggest.h"

#include <ctype.h>
#include <string.h>

#define LONGEST 48
#define MOST_NAMES 2000
#define MOST_QUESTIONS 300

static unsigned smallest(unsigned a, unsigned b, unsigned c)
{
    unsigned least = a < b ? a : b;

    return least < c ? least : c;
}

/* Restricted Damerau-Levenshtein distance, letters compared without case, `-` and `_` alike. */
static unsigned distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    unsigned rows[3][LONGEST + 1];

    for (unsigned j = 0; j <= b_len; j++)
        rows[0][j] = j;
    for (unsigned i = 1; i <= a_len; i++) {
        unsigned *now = rows[i % 3];
        const unsigned *before = rows[(i + 2) % 3];
        const unsigned *earlier = rows[(i + 1) % 3];

        now[0] = i;
        for (unsigned j = 1; j <= b_len; j++) {
            int x = tolower((unsigned char)a[i - 1]);
            int y = tolower((unsigned char)b[j - 1]);
            unsigned same = x == y || (strchr("-_", x) != NULL && strchr("-_", y) != NULL) ? 0 : 1;

            now[j] = smallest(before[j] + 1, now[j - 1] + 1, before[j - 1] + same);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && earlier[j - 2] + 1 < now[j])
                now[j] = earlier[j - 2] + 1;
        }
    }
    return rows[a_len % 3][b_len];
}

/* The nearest of `names` to `word` if it is near enough to be meant (a third of its letters differ at most), else NULL.
 * Swapped neighbours and upper case count little. At most 2,000 names are looked at. */
static const char *find_nearest(const char *word, const char *const *names, size_t count)
{
    size_t len = strlen(word);
    unsigned best_distance = len < 3 ? 1 : (unsigned)(len + 2) / 3;
    const char *best = NULL;

    if (len == 0 || len > LONGEST)
        return NULL;
    for (size_t i = 0; i < count && i < MOST_NAMES; i++) {
        size_t name_len = strlen(names[i]);
        unsigned d;

        if (name_len == 0 || name_len > LONGEST)
            continue;
        d = distance(word, len, names[i], name_len);
        if (d < best_distance || (best == NULL && d == best_distance)) {
            best_distance = d;
            best = names[i];
        }
    }
    return best;
}

const char *suggest__did_you_mean(struct diags *diags, const char *word, const char *const *names, size_t count)
{
    const char *nearest;

    if (diags->suggestions >= MOST_QUESTIONS)
        return NULL;
    diags->suggestions++;
    nearest = find_nearest(word, names, count);
    return nearest != NULL ? arena__printf(diags->arena, "did you mean `%s`?", nearest) : NULL;
}
