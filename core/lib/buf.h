/* A growable byte buffer. Always one NUL byte after the content, so text content is a C string.
 *
 * Allocation failure ends the process through tn_fatal(): every input that can grow a buffer is bounded by its reader
 * before it gets here, so running out of memory in a buffer is a broken invariant of our own, not a peer's doing. */
#ifndef TN_BUF_H
#define TN_BUF_H

#include "core/lib/err.h"

#include <stddef.h>

struct tn_buf {
    char *data;  /* owned; NULL while nothing was ever put in */
    size_t len;  /* bytes of content */
    size_t size; /* bytes allocated */
};

#define TN_BUF_INIT                                                                                                    \
    {                                                                                                                  \
        NULL, 0, 0                                                                                                     \
    }

/* Gives the memory back; the buffer is empty and can be used again. */
void tn_buf_free(struct tn_buf *buf);
/* Makes room for `more` further bytes and returns the address behind the content. */
char *tn_buf_reserve(struct tn_buf *buf, size_t more);
void tn_buf_add(struct tn_buf *buf, const void *bytes, size_t len);
void tn_buf_adds(struct tn_buf *buf, const char *text);
void tn_buf_addf(struct tn_buf *buf, const char *fmt, ...) TN_PRINTF(2, 3);
/* Drops `len` bytes from the front. */
void tn_buf_consume(struct tn_buf *buf, size_t len);
/* Keeps the allocation, drops the content. */
void tn_buf_reset(struct tn_buf *buf);
/* Hands the content over as a NUL-terminated string that the caller frees; the buffer is empty afterwards. */
char *tn_buf_steal(struct tn_buf *buf);

#define auto_buf __attribute__((cleanup(tn_buf_free)))

#endif
