/* What an executor's folder says of it: manifest.json.
 *
 *     {"name": "machine",                      [a-z0-9-]+, at most 32; one executor of that name
 *      "program": "tenon-executor-machine",    relative to the manifest's folder
 *      "kinds": ["machine"],
 *      "environment": ["DOCKER_HOST"],         variables of tenond's environment that it gets, too
 *      "files": ["unix:///var/run/docker.sock"],   files, folders of the host that it is shown if they are there, and sockets,
 *                                              also to come, beside what settings and these variables name
 *      "network": "engines reached by TCP",    why it needs the host's network; without it has one of its own
 *      "programs": {"agent": {"program": "../agent/tenon-agent",     what tenond starts for it on request
 *                             "settings": "machine",       section of the settings with run_as, command_prefix
 *                             "user_option": "--user",     how the program is told the user of run_as
 *                             "hide_option": "--hide",     and each folder of Tenon's that its job may not see
 *                             "peer_option": "--peer"}}}   and the user of the executor, who may talk to it
 *
 * Unknown members are refused by name: a mistyped one would silently do nothing. */
#ifndef TN_KERNEL_MANIFEST_H
#define TN_KERNEL_MANIFEST_H

#include "core/lib/err.h"

#include <stddef.h>

enum { TN_MANIFEST_BYTES_MAX = 65536, TN_MANIFEST_ITEMS_MAX = 64, TN_MANIFESTS_MAX = 64 };

struct tn_manifest_program {
    char *name;        /* owned */
    char *path;        /* owned; absolute, or as the folder was given */
    char *settings;    /* owned; section of the operator's settings that holds for it; NULL: none */
    char *user_option; /* owned; by which it is told the user to run as; NULL: it cannot */
    char *hide_option; /* owned; by which it is told a folder to hide; NULL: it cannot */
    char *peer_option; /* owned; by which it is told the executor's user (a number); NULL: it cannot */
};

struct tn_manifest {
    char *name;                               /* owned */
    char *program;                            /* owned; path */
    struct cJSON *kinds;                      /* owned; list of names: what it may register as */
    char *environment[TN_MANIFEST_ITEMS_MAX]; /* owned */
    size_t environment_count;
    char *files[TN_MANIFEST_ITEMS_MAX]; /* owned; paths */
    size_t file_count;
    char *network; /* owned; NULL: it needs none of the host's */
    struct tn_manifest_program programs[TN_MANIFEST_ITEMS_MAX];
    size_t program_count;
};

/* Reads one. The error names the file and the member. The caller frees with tn_manifest_free(). */
struct tn_manifest *tn_manifest_read(const char *file, struct tn_err *err) TN_MUST_CHECK;
/* Parses text that lies in `folder`; `file` is for errors. */
struct tn_manifest *tn_manifest_parse(const char *text, size_t length, const char *folder, const char *file,
                                      struct tn_err *err) TN_MUST_CHECK;
void tn_manifest_free(struct tn_manifest *manifest);
/* A program that the manifest names, or NULL. */
const struct tn_manifest_program *tn_manifest_program(const struct tn_manifest *manifest, const char *name);

#endif
