/* The value of the Engine API's X-Registry-Auth header: base64url (RFC 4648, 5) of the credentials' JSON.
 *
 * Source: Docker Engine API v1.41, "Authentication". */
#ifndef TN_EXECUTORS_DOCKER_REGISTRY_AUTH_H
#define TN_EXECUTORS_DOCKER_REGISTRY_AUTH_H

#include "executors/docker/image_ref.h"

/* The credentials for the registry of `image`. A secret: the caller wipes and frees it, and never logs it. */
char *tn_registry_auth_new(const struct tn_image_ref *image, const char *username, const char *password);

#endif
