/* Whose name and password a registry is told: those of the config (`auth`, `aws_auth`), whose values may name variables
 * of the job's contexts and of the project, or the operator's (docker.registries of tenon.yaml), whose passwords lie in
 * files. */
#ifndef TN_EXECUTORS_DOCKER_CREDENTIALS_H
#define TN_EXECUTORS_DOCKER_CREDENTIALS_H

#include "core/lib/err.h"

#include <cjson/cJSON.h>

#define TN_CREDENTIALS_PASSWORD_MAX 65536 /* bytes of a password's file; tokens of clouds are some kilobytes */

struct tn_credentials {
    char *username;  /* owned; NULL: none */
    char *password;  /* owned; a secret */
    char whose[200]; /* 'user "x" (`auth` in the config)' */
};

/* Overwrites the password. All zero is allowed. */
void tn_credentials_clear(struct tn_credentials *credentials);

/* What `value` stands for: exactly "$NAME" or "${NAME}" is a variable of the lease's contexts (the last one wins), else
 * of the project; any other text is itself. A secret: the caller wipes and frees it. NULL with TN_ERR_CONFIG if there
 * is no such variable or it is empty; the text names it and `key`. Pure. */
char *tn_credentials_value(const cJSON *lease, const char *key, const char *value, struct tn_err *err) TN_MUST_CHECK;

/* Both values of an `auth`. */
int tn_credentials_of_config(const cJSON *lease, const char *username, const char *password,
                             struct tn_credentials *credentials, struct tn_err *err) TN_MUST_CHECK;

/* The operator's for registry `host`, of the settings' list `registries` (may be NULL). 1 if there are some, else 0; -1
 * if the password's file cannot be read or is empty (the text names the file). The file is read each time, so a new
 * password counts at once. */
int tn_credentials_of_operator(const cJSON *registries, const char *host, struct tn_credentials *credentials,
                               struct tn_err *err) TN_MUST_CHECK;

/* Overwrites and frees a secret; NULL is allowed. */
void tn_credentials_wipe(char *secret);

#endif
