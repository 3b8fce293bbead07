#include "core/lib/units.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY 86400.0

/* A decimal number without sign or exponent. Returns what stands behind it, or NULL. */
static const char *number(const char *text, double *out)
{
    size_t digits = strspn(text, "0123456789.");
    char *end;

    if (digits == 0 || digits > 18 || strspn(text, ".") == digits)
        return NULL;
    *out = strtod(text, &end);
    return end == text + digits ? end : NULL;
}

bool tn_units_duration(const char *text, bool days, double *seconds)
{
    double total = 0;

    if (*text == '\0')
        return false;
    while (*text != '\0') {
        double count;
        double unit;

        text = number(text, &count);
        if (text == NULL)
            return false;
        unit = *text == 's' ? 1 : *text == 'm' ? 60 : *text == 'h' ? 3600 : *text == 'd' && days ? DAY : 0;
        if (unit == 0)
            return false;
        total += count * unit;
        text++;
    }
    if (!(total > 0) || total > 365 * DAY)
        return false;
    *seconds = round(total * 1000) / 1000;
    return true;
}

bool tn_units_size(const char *text, double *bytes)
{
    static const struct {
        const char *name;
        double factor;
    } units[] = {
        {"", 1},      {"B", 1},       {"KB", 1e3},        {"MB", 1e6},           {"GB", 1e9},
        {"TB", 1e12}, {"KiB", 1024.}, {"MiB", 1048576.0}, {"GiB", 1073741824.0}, {"TiB", 1099511627776.0},
    };
    double count;

    text = number(text, &count);
    for (size_t i = 0; text != NULL && i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(text, units[i].name) != 0)
            continue;
        *bytes = floor(count * units[i].factor);
        return *bytes < 9007199254740992.0;
    }
    return false;
}

const char *tn_units_size_text(uint64_t bytes, char *out, size_t size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1024;
        unit++;
    }
    snprintf(out, size, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return out;
}
