/* One entry of a job's list of Docker images, as the plan has it.
 *
 * The shape is that of the config: {"image": REF, "name"?: HOST, "user"?: NAME, "entrypoint"?: TEXT or [TEXT...],
 * "command"?: TEXT or [TEXT...], "environment"?: {NAME: text, number or boolean}, "auth"?: {"username": TEXT,
 * "password": TEXT}, "aws_auth"?: {"aws_access_key_id": TEXT, "aws_secret_access_key": TEXT} or {"oidc_role_arn":
 * TEXT}}. A text for entrypoint or command is split into words as a shell would, without any expansion.
 * Pure. */
#ifndef TN_EXECUTORS_DOCKER_CONTAINER_IMAGE_H
#define TN_EXECUTORS_DOCKER_CONTAINER_IMAGE_H

#include "core/lib/err.h"
#include "executors/docker/image_ref.h"

#include <cjson/cJSON.h>

#define TN_CONTAINER_HOST_NAME_MAX 253 /* RFC 1035, 2.3.4, without the trailing dot */

struct tn_container_image {
    char *text; /* owned; the image as the config has it */
    struct tn_image_ref ref;
    char *name;         /* owned; further name of localhost, or NULL */
    char *user;         /* owned; or NULL: the image's own */
    cJSON *entrypoint;  /* owned; array of strings, or NULL: the image's own */
    cJSON *command;     /* owned; array of strings, or NULL: the image's own */
    cJSON *environment; /* owned; array of "NAME=VALUE", or NULL */
    char *username;     /* owned; of `auth`, or NULL. This and the next three may name variables (credentials.h) */
    char *password;     /* owned; a secret; NULL exactly if username is */
    char *aws_key_id;   /* owned; of `aws_auth`, or NULL */
    char *aws_secret;   /* owned; a secret; NULL exactly if aws_key_id is */
    char *aws_role;     /* owned; of `aws_auth`, or NULL */
};

/* Fills `image`, which the caller frees in every case. Fails with TN_ERR_CONFIG; a text quotes no value but the image's
 * name, for environment and auth may hold secrets. Keys that are not listed above are refused by name. */
int tn_container_image_parse(const cJSON *entry, struct tn_container_image *image, struct tn_err *err) TN_MUST_CHECK;

/* The password is overwritten first. An image that is all zero is allowed. */
void tn_container_image_free(struct tn_container_image *image);

/* The words of a command line: blanks divide, quotes and backslashes as in sh(1), nothing is expanded. An array of
 * strings, or NULL when a quote is not closed or the text ends with a backslash. */
cJSON *tn_container_words_new(const char *text) TN_MUST_CHECK;

#endif
