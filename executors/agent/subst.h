/* `circleci env subst`: replaces what stands for environment variables.
 *   $VAR ${VAR}                 the value, nothing if unset
 *   ${VAR:-text} ${VAR:=text}   text if unset or empty       ${VAR-text} ${VAR=text}   text if unset
 *   ${VAR:+text}                text if set and not empty    ${VAR+text}               text if set
 *   ${#VAR}                     the value's length           $$VAR $${VAR}             $VAR ${VAR}, not replaced
 * `text` is replaced in turn. A '$' that begins none of these stays. */
#ifndef TN_AGENT_SUBST_H
#define TN_AGENT_SUBST_H

#include "core/lib/buf.h"

/* Appends the result to `out`. Variables come from the environment of the process. */
TN_MUST_CHECK int tn_subst(const char *text, size_t len, struct tn_buf *out, struct tn_err *err);

#endif
