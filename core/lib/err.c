#include "core/lib/err.h"

#include <stdio.h>
#include <string.h>

int tn_err_set(struct tn_err *err, enum tn_err_code code, const char *fmt, ...)
{
    va_list ap;

    if (err == NULL)
        return -1;
    err->code = code;
    err->sys = 0;
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof(err->text), fmt, ap);
    va_end(ap);
    return -1;
}

int tn_err_sys(struct tn_err *err, int sys, const char *fmt, ...)
{
    va_list ap;
    size_t used;

    if (err == NULL)
        return -1;
    err->code = TN_ERR_SYSTEM;
    err->sys = sys;
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof(err->text), fmt, ap);
    va_end(ap);
    used = strlen(err->text);
    snprintf(err->text + used, sizeof(err->text) - used, ": %s", strerror(sys));
    return -1;
}

int tn_err_wrap(struct tn_err *err, const char *fmt, ...)
{
    char before[sizeof(err->text)];
    va_list ap;
    size_t used;

    if (err == NULL || err->code == TN_OK)
        return -1;
    memcpy(before, err->text, sizeof(before));
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof(err->text), fmt, ap);
    va_end(ap);
    used = strlen(err->text);
    snprintf(err->text + used, sizeof(err->text) - used, ": %s", before);
    return -1;
}

void tn_err_clear(struct tn_err *err)
{
    if (err == NULL)
        return;
    err->code = TN_OK;
    err->sys = 0;
    err->text[0] = '\0';
}
