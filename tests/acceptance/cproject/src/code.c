#include "text.h"

#include <stdint.h>

size_t text_utf8_length(const char *text)
{
    size_t count = 0;
    for (const unsigned char *at = (const unsigned char *)text; *at != 0; count++) {
        int more = *at < 0x80                 ? 0
                   : *at >= 0xc2 && *at < 0xe0 ? 1
                   : (*at & 0xf0) == 0xe0      ? 2
                   : (*at & 0xf8) == 0xf0      ? 3
                                               : -1;
        if (more < 0)
            return SIZE_MAX;
        at++;
        for (; more > 0; more--, at++)
            if ((*at & 0xc0) != 0x80)
                return SIZE_MAX;
    }
    return count;
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

long text_unhex(const char *text, unsigned char *out, size_t size)
{
    size_t count = 0;
    for (; text[0] != '\0'; text += 2, count++) {
        int high = digit(text[0]);
        int low = high < 0 ? -1 : digit(text[1]);
        if (low < 0 || count >= size)
            return -1;
        out[count] = (unsigned char)(high << 4 | low);
    }
    return (long)count;
}
