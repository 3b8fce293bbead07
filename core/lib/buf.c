#include "core/lib/buf.h"
#include "core/lib/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Buffers hold secrets, too: none is left in freed memory. */
static void wipe(struct tn_buf *buf)
{
    if (buf->data != NULL)
        explicit_bzero(buf->data, buf->size);
    free(buf->data);
}

void tn_buf_free(struct tn_buf *buf)
{
    wipe(buf);
    *buf = (struct tn_buf)TN_BUF_INIT;
}

char *tn_buf_reserve(struct tn_buf *buf, size_t more)
{
    size_t need = buf->len + more + 1;
    size_t size = buf->size != 0 ? buf->size : 64;
    char *data;

    if (need <= more)
        tn_fatal(3, "a buffer of %zu bytes cannot grow by %zu", buf->len, more);
    if (need <= buf->size)
        return buf->data + buf->len;
    while (size < need)
        size += size / 2 + 64;
    data = malloc(size);
    if (data == NULL)
        tn_fatal(3, "out of memory: %zu bytes for a buffer", size);
    if (buf->size > 0)
        memcpy(data, buf->data, buf->size);
    wipe(buf);
    buf->data = data;
    buf->size = size;
    return buf->data + buf->len;
}

void tn_buf_add(struct tn_buf *buf, const void *bytes, size_t len)
{
    char *end = tn_buf_reserve(buf, len);

    if (len > 0)
        memcpy(end, bytes, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
}

void tn_buf_adds(struct tn_buf *buf, const char *text)
{
    tn_buf_add(buf, text, strlen(text));
}

void tn_buf_addf(struct tn_buf *buf, const char *fmt, ...)
{
    va_list ap;
    va_list again;
    int len;

    va_start(ap, fmt);
    va_copy(again, ap);
    len = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (len > 0) {
        char *end = tn_buf_reserve(buf, (size_t)len);

        vsnprintf(end, (size_t)len + 1, fmt, again);
        buf->len += (size_t)len;
    }
    va_end(again);
}

void tn_buf_consume(struct tn_buf *buf, size_t len)
{
    if (len > buf->len)
        len = buf->len;
    if (len == 0)
        return;
    memmove(buf->data, buf->data + len, buf->len - len);
    buf->len -= len;
    buf->data[buf->len] = '\0';
}

void tn_buf_reset(struct tn_buf *buf)
{
    buf->len = 0;
    if (buf->data != NULL)
        buf->data[0] = '\0';
}

char *tn_buf_steal(struct tn_buf *buf)
{
    char *data;

    tn_buf_add(buf, "", 0);
    data = buf->data;
    *buf = (struct tn_buf)TN_BUF_INIT;
    return data;
}
