/* The texts in JUnit XML: why a test failed, made of the pieces that a file has of it; bytes that XML forbids;
 * encodings that expat does not know. Used by junit.c only. Pure. */
#ifndef TN_OUTPUT_JUNIT_TEXT_H
#define TN_OUTPUT_JUNIT_TEXT_H

#include "core/lib/buf.h"
#include "core/output/junit.h"

#include <expat.h>

enum tn_junit_word_kind {
    TN_JUNIT_WHY,  /* <failure> and the like */
    TN_JUNIT_SAID, /* <system-out>, <system-err>: of use only where the test does not say why */
};

/* What is known of one test's end; bounded. Zeroed is empty. */
struct tn_junit_words {
    enum tn_junit_word_kind kind; /* of the text that comes */
    struct tn_buf heading;        /* the `message` attributes */
    struct tn_buf type;           /* the first `type` attribute, for want of anything else */
    struct tn_buf why;            /* the beginning of the elements' text */
    struct tn_buf said;           /* the end of what the test printed */
};

void tn_junit_words_reset(struct tn_junit_words *words);
void tn_junit_words_free(struct tn_junit_words *words);
/* An element begins; both attributes may be NULL. */
void tn_junit_words_begin(struct tn_junit_words *words, enum tn_junit_word_kind kind, const char *message,
                          const char *type);
/* A piece of the element's text. */
void tn_junit_words_add(struct tn_junit_words *words, const char *text, size_t length);
/* Writes the test's message. With `said`, what it printed takes the place of a missing one. */
void tn_junit_words_make(const struct tn_junit_words *words, bool said, char out[TN_JUNIT_MESSAGE_MAX]);

struct tn_junit_cleaner {
    bool begun;   /* something else than blanks was seen */
    bool is_wide; /* UTF-16: left as it is */
};

/* Replaces control characters in a piece of a file. Returns how many bytes in front of it are to be left out: blanks
 * (and a UTF-8 mark) before the first "<". */
size_t tn_junit_clean(struct tn_junit_cleaner *cleaner, char *bytes, size_t length);

/* An XML_UnknownEncodingHandler: Windows-1252 exactly; of other encodings that contain ASCII what is not ASCII becomes
 * "?". */
int tn_junit_encoding(void *arg, const XML_Char *name, XML_Encoding *encoding);

#endif
