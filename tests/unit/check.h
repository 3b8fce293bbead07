/* The few macros that unit tests share: a failed check prints where and what, and main() returns tn_check_result().
 *
 *     int main(void) { CHECK(1 + 1 == 2); CHECK_STR(name, "x"); return tn_check_result(); } */
#ifndef TN_TESTS_CHECK_H
#define TN_TESTS_CHECK_H

#include <stdio.h>
#include <string.h>

static int tn_check_failures;
static int tn_check_count;

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        tn_check_count++;                                                                                              \
        if (!(condition)) {                                                                                            \
            tn_check_failures++;                                                                                       \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);                                    \
        }                                                                                                              \
    } while (0)

#define CHECK_STR(actual, expected)                                                                                    \
    do {                                                                                                               \
        const char *actual_ = (actual);                                                                                \
        const char *expected_ = (expected);                                                                            \
        tn_check_count++;                                                                                              \
        if (actual_ == NULL || strcmp(actual_, expected_) != 0) {                                                      \
            tn_check_failures++;                                                                                       \
            fprintf(stderr, "%s:%d: %s\n   is: %s\n want: %s\n", __FILE__, __LINE__, #actual,                          \
                    actual_ != NULL ? actual_ : "(null)", expected_);                                                  \
        }                                                                                                              \
    } while (0)

#define CHECK_INT(actual, expected)                                                                                    \
    do {                                                                                                               \
        long long actual_ = (long long)(actual);                                                                       \
        long long expected_ = (long long)(expected);                                                                   \
        tn_check_count++;                                                                                              \
        if (actual_ != expected_) {                                                                                    \
            tn_check_failures++;                                                                                       \
            fprintf(stderr, "%s:%d: %s is %lld, want %lld\n", __FILE__, __LINE__, #actual, actual_, expected_);        \
        }                                                                                                              \
    } while (0)

static inline int tn_check_result(void)
{
    fprintf(stderr, "%d checks, %d failed\n", tn_check_count, tn_check_failures);
    return tn_check_failures != 0 || tn_check_count == 0 ? 1 : 0;
}

#endif
