/* Errors as caller-owned values.
 *
 * A fallible function returns 0 or -1 (or a pointer or NULL), is TN_MUST_CHECK, and takes a `struct tn_err *` as its
 * last argument. The value holds a fixed buffer, so reporting "out of memory" needs no memory. An error is set once,
 * where it happened; callers add context on the way up with tn_err_wrap() and it is reported once, at the top.
 * The text says what failed, where, what was expected and what to do.
 *
 * Every function accepts a NULL `err` and then only returns its failure value. */
#ifndef TN_ERR_H
#define TN_ERR_H

#include <stdarg.h>

#define TN_MUST_CHECK __attribute__((warn_unused_result))
#define TN_PRINTF(fmt_index, arg_index) __attribute__((format(printf, fmt_index, arg_index)))

/* What kind of thing went wrong; decides exit codes and whether a retry can help. */
enum tn_err_code {
    TN_OK = 0,
    TN_ERR_USAGE,       /* the command line or a request is wrong: exit code 2 */
    TN_ERR_CONFIG,      /* what the user wrote (a config, a plan) is wrong: exit code 2 */
    TN_ERR_SYSTEM,      /* the operating system refused: exit code 3; `sys` holds errno */
    TN_ERR_PROTOCOL,    /* a peer sent something that the contract does not allow */
    TN_ERR_UNAVAILABLE, /* a peer, an engine or a network is not there (yet) */
    TN_ERR_LIMIT,       /* a stated bound was reached */
    TN_ERR_NOT_FOUND,   /* the named thing does not exist */
    TN_ERR_CONFLICT,    /* the named thing exists already, or in another state */
};

struct tn_err {
    enum tn_err_code code;
    int sys;         /* errno, or 0 */
    char text[1024]; /* one line, no newline at the end, always NUL-terminated */
};

/* An empty error. Every function that takes one expects it to be initialised. */
#define TN_ERR_INIT                                                                                                    \
    {                                                                                                                  \
        TN_OK, 0, ""                                                                                                   \
    }

/* Sets `err` (if not NULL) and returns -1, so that a function can `return tn_err_set(...)`. */
int tn_err_set(struct tn_err *err, enum tn_err_code code, const char *fmt, ...) TN_PRINTF(3, 4);

/* Like tn_err_set() with TN_ERR_SYSTEM; appends ": " and the text of `sys` (an errno value). Returns -1. */
int tn_err_sys(struct tn_err *err, int sys, const char *fmt, ...) TN_PRINTF(3, 4);

/* Puts "context: " before the text that is there. Does nothing if no error is set. Returns -1. */
int tn_err_wrap(struct tn_err *err, const char *fmt, ...) TN_PRINTF(2, 3);

/* Back to the empty error. */
void tn_err_clear(struct tn_err *err);

#endif
