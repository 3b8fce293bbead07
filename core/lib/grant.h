/* Grants: what a lease entitles to, signed by the scheduler, believed by tenon-output. "<HMAC-SHA256 in
 * hexadecimal>.<JSON>".
 *
 * Both know the key; an executor carries the text from one to the other and can neither make nor change one. So nothing
 * about leases has to be kept, told or told again: any of the three may start anew at any time. */
#ifndef TN_GRANT_H
#define TN_GRANT_H

#include "core/lib/err.h"

#include <cjson/cJSON.h>

#include <stdint.h>

enum { TN_GRANT_KEY = 32, TN_GRANT_KEY_TEXT = 2 * TN_GRANT_KEY + 1 };

/* A key as 64 hexadecimal digits, as LEASE_KEY has it. */
int tn_grant_key_read(const char *text, uint8_t key[TN_GRANT_KEY], struct tn_err *err) TN_MUST_CHECK;
void tn_grant_key_write(const uint8_t key[TN_GRANT_KEY], char text[TN_GRANT_KEY_TEXT]);
/* The first call reads OpenSSL's files: make one before files are out of reach. The caller frees the text. */
char *tn_grant_sign(const uint8_t key[TN_GRANT_KEY], const cJSON *claims);
/* What the text grants, which the caller deletes; NULL if the key did not sign it. Reads nothing of it before. */
cJSON *tn_grant_open(const uint8_t key[TN_GRANT_KEY], const char *text, struct tn_err *err) TN_MUST_CHECK;

#endif
