/* libtext: small functions on text. None of them keeps a pointer; what they return with "new" is freed by the caller. */
#ifndef TEXT_H
#define TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Length of the text without white space at both ends; *start is set to its first character. */
size_t text_trim(const char *text, const char **start);

/* Number of words: runs of characters that are no white space. */
size_t text_count_words(const char *text);

/* Number of code points of well-formed UTF-8; SIZE_MAX when it is not well-formed. */
size_t text_utf8_length(const char *text);

/* New text with lines of at most `width` characters, broken at spaces; a longer word stands alone. NULL without memory. */
char *text_wrap(const char *text, size_t width);

/* New text in which every `from` is `to`. NULL without memory, or when `from` is empty. */
char *text_replace(const char *text, const char *from, const char *to);

/* True when the text matches a pattern with `*` (any characters) and `?` (one character). */
bool text_match(const char *pattern, const char *text);

/* Number of edits (insert, delete, change a character) between two texts; SIZE_MAX without memory. */
size_t text_distance(const char *a, const char *b);

/* Decodes pairs of hexadecimal digits into `out` of `size` bytes; the number of bytes, or -1 when it is wrong or too long. */
long text_unhex(const char *text, unsigned char *out, size_t size);

#endif
