/* Regular expressions of filters and of `matches`: Java's, as near as PCRE2 is; on the whole text, with bounded work.
 */
#ifndef TN_COMPILER_REGEX_H
#define TN_COMPILER_REGEX_H

#include "core/compiler/context.h"

enum regex_result { REGEX_NO, REGEX_YES, REGEX_FAILED /* reported */ };

/* Does `pattern` match the whole of `text`? Faults of the pattern are reported at `view`. `text` may be NULL: then the
 * pattern is only checked and the answer is REGEX_NO. */
enum regex_result regex__matches(struct compiler *c, const struct view *view, const char *pattern, size_t len,
                                 const char *text);

#endif
