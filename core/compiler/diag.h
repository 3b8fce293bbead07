/* Collects what is to be said about a config: errors and warnings with their places. */
#ifndef TN_COMPILER_DIAG_H
#define TN_COMPILER_DIAG_H

#include "core/compiler/arena.h"
#include "core/compiler/source.h"

#include <cjson/cJSON.h>
#include <stdbool.h>

enum diag_code {
#define DIAG(number, name, severity, text) DIAG_##name,
#include "core/compiler/diagnostics.def"
#undef DIAG
    DIAG_CODES
};

/* A place in the text; line 0 means none. Lines and columns count from 1, columns in characters. */
struct place {
    uint32_t line;
    uint32_t column;
    uint32_t end_column; /* behind the last character; 0 when the thing spans lines */
};

struct diags {
    struct arena *arena;         /* borrowed */
    const struct source *source; /* borrowed */
    const char *file;            /* borrowed */
    cJSON *list;                 /* owned until taken */
    struct table seen;           /* so that one fault in an anchored value is said once */
    size_t errors;
    size_t count;
    size_t narrowed;    /* places looked for within texts so far, see subst.c */
    size_t suggestions; /* asked for so far, see suggest.h */
};

/* One message. Only `code` and `at` are needed; the rest may be NULL. */
struct report {
    enum diag_code code;
    struct place at;
    struct place note;     /* a second place that explains the first, e.g. the definition */
    const char *note_text; /* what is there */
    bool fault_in_note;    /* the note is where the fault was written: say it for its first use only */
    const char *expected;
    const char *hint;
};

/* Puts the messages into the order of their places. */
void diag__sort(struct diags *diags);

void diag__add(struct diags *diags, const struct report *report, const char *fmt, ...) TN_PRINTF(3, 4);

#endif
