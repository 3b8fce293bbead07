#include "core/compiler/regex.h"

#include "core/compiler/limits.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

#define MATCH_LIMIT 100000
#define STEPS_EACH 500 /* what one match counts as, of the limit of expansion */
#define HEAP_LIMIT_KIB 20000

static enum regex_result run(struct compiler *c, const struct view *view, const pcre2_code *code, const char *text)
{
    pcre2_match_data *data = pcre2_match_data_create_from_pattern(code, NULL);
    pcre2_match_context *context = pcre2_match_context_create(NULL);
    int found = PCRE2_ERROR_NOMEMORY;

    if (data != NULL && context != NULL) {
        pcre2_set_match_limit(context, MATCH_LIMIT);
        pcre2_set_heap_limit(context, HEAP_LIMIT_KIB);
        found = pcre2_match(code, (PCRE2_SPTR)text, strlen(text), 0, 0, data, context);
    }
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
    if (found >= 0)
        return REGEX_YES;
    if (found == PCRE2_ERROR_NOMATCH)
        return REGEX_NO;
    compiler__report(c, view, &(struct report){.code = DIAG_REGEX_LIMIT, .hint = "simplify nested repetitions"},
                     "the pattern needs more work than the limit allows");
    c->steps += LIMIT_STEPS / 20; /* so that a config full of such patterns ends soon */
    return REGEX_FAILED;
}

enum regex_result regex__matches(struct compiler *c, const struct view *view, const char *pattern, size_t len,
                                 const char *text)
{
    enum regex_result result = REGEX_NO;
    pcre2_code *code;
    PCRE2_SIZE offset;
    int error;

    if (len > LIMIT_REGEX_BYTES) {
        compiler__report(c, view, &(struct report){.code = DIAG_REGEX_LIMIT}, "the pattern is longer than %d bytes",
                         LIMIT_REGEX_BYTES);
        return REGEX_FAILED;
    }
    c->steps += STEPS_EACH + (text != NULL ? strlen(text) / 64 : 0);
    if (!compiler__step(c, view))
        return REGEX_FAILED;
    code =
        pcre2_compile((PCRE2_SPTR)pattern, len,
                      PCRE2_UTF | PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_NEVER_BACKSLASH_C, &error, &offset, NULL);
    if (code == NULL) {
        PCRE2_UCHAR message[128] = "";

        pcre2_get_error_message(error, message, sizeof(message));
        compiler__report(c, view, &(struct report){.code = DIAG_BAD_REGEX},
                         "`%.100s` is not a regular expression: %s, at its character %zu", pattern, (char *)message,
                         (size_t)offset + 1);
        return REGEX_FAILED;
    }
    if (text != NULL)
        result = run(c, view, code, text);
    pcre2_code_free(code);
    return result;
}
