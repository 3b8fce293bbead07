/* NAME=VALUE: from the command line and from files. Pure. */
#ifndef TN_TOOLS_ENVFILE_H
#define TN_TOOLS_ENVFILE_H

#include "core/lib/err.h"

#include <cjson/cJSON.h>
#include <stddef.h>

struct pair {
    char *name;  /* owned */
    char *value; /* owned */
};

/* A list in the order in which it was given; later ones win. All zero is an empty list. */
struct pairs {
    struct pair *items; /* owned */
    size_t count;
};

/* Copies the name (`name_length` bytes) and the value. */
void pairs_add(struct pairs *pairs, const char *name, size_t name_length, const char *value);
void pairs_free(struct pairs *pairs);
/* The object {name: value}; the caller deletes it. */
cJSON *pairs_json(const struct pairs *pairs);

/* "NAME=VALUE" of a command line option. The name is [A-Za-z_][A-Za-z0-9_]*. TN_ERR_USAGE names `option`; the value is
 * never part of an error's text, since it can be a secret. */
int env_assignment(struct pairs *pairs, const char *option, const char *text, struct tn_err *err) TN_MUST_CHECK;

/* A file's text: NAME=VALUE lines, empty lines, comments (`#` first in a line, or behind a blank after a value),
 * `export` before the name, values in single quotes (as they are, one line or several) or double quotes (one line or
 * several; \\ \" \$ \` and \n are escapes). TN_ERR_USAGE begins with "FILE:LINE: ". */
int env_file(struct pairs *pairs, const char *file, const char *text, size_t length, struct tn_err *err) TN_MUST_CHECK;

#endif
