/* Image references as people write them: [registry[:port]/]repository[:tag][@digest].
 *
 * The grammar is that of the distribution project's reference package, and so are its limits. What is left out gets
 * Docker's defaults: registry docker.io, repository library/NAME for a single-word name there, tag latest when there is
 * neither tag nor digest. Pure: no files, no network. */
#ifndef TN_EXECUTORS_DOCKER_IMAGE_REF_H
#define TN_EXECUTORS_DOCKER_IMAGE_REF_H

#include "core/lib/err.h"

#include <stddef.h>

#define TN_IMAGE_REF_NAME_MAX 255 /* registry, slash and repository together */
#define TN_IMAGE_REF_TAG_MAX 128
#define TN_IMAGE_REF_DIGEST_MAX 135 /* "sha512:" and 128 hexadecimal digits */
#define TN_IMAGE_REF_TEXT_MAX (TN_IMAGE_REF_NAME_MAX + 1 + TN_IMAGE_REF_TAG_MAX + 1 + TN_IMAGE_REF_DIGEST_MAX)

struct tn_image_ref {
    char registry[TN_IMAGE_REF_NAME_MAX + 1];   /* "docker.io", "registry.example.com:5000" */
    char repository[TN_IMAGE_REF_NAME_MAX + 1]; /* "library/alpine" */
    char tag[TN_IMAGE_REF_TAG_MAX + 1];         /* "latest"; "" when only a digest is given */
    char digest[TN_IMAGE_REF_DIGEST_MAX + 1];   /* "sha256:..."; "" when none is given */
};

/* Fills `ref`, or fails with TN_ERR_CONFIG and a text that quotes the reference and names the wrong part. */
int tn_image_ref_parse(const char *text, struct tn_image_ref *ref, struct tn_err *err) TN_MUST_CHECK;

/* Writes the full form ("docker.io/library/alpine:latest"), which every call of the Engine API accepts. `size` of
 * TN_IMAGE_REF_TEXT_MAX + 1 always suffices. */
void tn_image_ref_format(const struct tn_image_ref *ref, char *text, size_t size);

/* The two arguments of the engine's pull: fromImage (registry and repository, TN_IMAGE_REF_NAME_MAX + 1 bytes suffice)
 * and tag. The result is what stands for `tag`: the digest if there is one, for it names exactly one image. Borrowed.
 */
const char *tn_image_ref_pull_name(const struct tn_image_ref *ref, char *from_image, size_t size);

/* The address under which the registry's credentials are sent to the engine (for docker.io its historic one). */
const char *tn_image_ref_auth_address(const struct tn_image_ref *ref);

#endif
