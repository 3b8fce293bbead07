/* Typed fields of maps, read into JSON: the table that describes a step's or a container's keys. */
#ifndef TN_COMPILER_FIELDS_H
#define TN_COMPILER_FIELDS_H

#include "core/compiler/view.h"

enum field_kind {
    FIELD_TEXT,
    FIELD_BOOL,
    FIELD_INT,      /* within min..max */
    FIELD_DURATION, /* seconds, a number */
    FIELD_SIZE,     /* bytes, a number */
    FIELD_CHOICE,   /* one of `choices` */
    FIELD_TEXTS,    /* a list of texts that is not empty; one text is a list of one */
    FIELD_ARGV,     /* a text (split at spaces, quotes kept together) or a list of texts */
    FIELD_ENV,      /* [["NAME", "value"], ...] */
    FIELD_OTHER,    /* allowed; read by the caller */
    FIELD_REFUSED,  /* in the language, not here yet */
};

struct field {
    const char *name;
    enum field_kind kind;
    bool required;
    bool days; /* FIELD_DURATION: `d` is a unit, too */
    const char *fallback;       /* of FIELD_TEXT and FIELD_CHOICE */
    const char *const *choices; /* NULL-terminated */
    const char *later;          /* a choice that the language has, not here yet */
    long long min;
    long long max;
};

/* Reads `map` by `fields` into the object `out`. `what` names the thing. Returns false if something required is missing
 * or wrong (reported). Of an unknown map nothing is read and the answer is true. */
bool fields__read(struct compiler *c, const struct view *map, const char *what, const struct field *fields,
                  size_t count, cJSON *out);

/* One value, as above; `out` gets it under the field's name. */
bool fields__read_one(struct compiler *c, const struct view *value, const char *what, const struct field *field,
                      cJSON *out);

/* An environment in order; later values take the place of earlier ones of that name. */
struct env {
    cJSON *list;        /* owned: [["NAME", "value"], ...] */
    struct table index; /* name to its pair in `list` */
};

/* Adds a map of names to values, or a list of such maps or of texts NAME=value. VIEW_NONE adds nothing. */
bool fields__add_env(struct compiler *c, struct env *env, const struct view *value, const char *what);

#endif
