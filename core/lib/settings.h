/* The settings of an installation, tenon.yaml: one table of all keys, from which come the check of the file
 * (core/compiler/settings.h), the defaults, who gets what, and the page tenon.yaml(5). Pure.
 *
 * In JSON: an object with a member for each section; durations are seconds, sizes bytes. */
#ifndef TN_SETTINGS_H
#define TN_SETTINGS_H

#include <cjson/cJSON.h>

#include <stdbool.h>
#include <stddef.h>

enum tn_setting_kind {
    TN_SETTING_TEXT,
    TN_SETTING_PATTERN,  /* a regular expression */
    TN_SETTING_PATH,     /* absolute; "~/" at its begin is the home folder of who starts Tenon */
    TN_SETTING_CHOICE,   /* one of `choices` */
    TN_SETTING_INT,      /* min..max */
    TN_SETTING_DURATION, /* "30m", "15d"; at most `max` seconds if that is not 0 */
    TN_SETTING_SIZE,     /* "10GB" */
    TN_SETTING_TEXTS,    /* a list of texts; one text is a list of one */
    TN_SETTING_LIST,     /* a list of maps, whose keys are the rows that begin with this path; "[]" ends its path */
};

enum {
    TN_SETTINGS_DOCKER = 1,
    TN_SETTINGS_MACHINE = 2,
    TN_SETTINGS_OUTPUT = 4,
    TN_SETTINGS_SCHEDULER = 8,
    TN_SETTINGS_KERNEL = 16,
    TN_SETTINGS_EXECUTORS = TN_SETTINGS_DOCKER | TN_SETTINGS_MACHINE,
};

struct tn_setting {
    const char *path; /* "docker.images[].prefix" */
    enum tn_setting_kind kind;
    const char *fallback;       /* as in the file; NULL: none (the member is missing), "" of a list: an empty one */
    const char *const *choices; /* NULL-terminated */
    long long min;
    long long max;
    bool required;      /* within a list's map */
    bool alternative;   /* of the alternatives of one map exactly one must be there */
    unsigned receivers; /* TN_SETTINGS_… */
    const char *doc;    /* one or two sentences */
};

extern const struct tn_setting tn_settings[];
extern const size_t tn_settings_count;

/* Which settings the service `role` ("executor-docker", "output", …) gets; 0 for none. */
unsigned tn_settings_receiver(const char *role);
/* A fresh object with what `receivers` get of `all`. */
cJSON *tn_settings_select(const cJSON *all, unsigned receivers);
/* Adds the defaults of what `receivers` get and `settings` does not have. */
void tn_settings_fill(cJSON *settings, unsigned receivers);

#endif
