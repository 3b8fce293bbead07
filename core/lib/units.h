/* Durations and sizes as people write them. Pure. */
#ifndef TN_UNITS_H
#define TN_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Seconds of "90s", "10m", "1.25h", "1h30m", with `days` also of "15d", rounded to milliseconds. False for anything
 * else, for nothing and for more than a year. */
bool tn_units_duration(const char *text, bool days, double *seconds);
/* Bytes of "0", "512", "64KB", "1.5GB", "2TB", "1GiB"; KB, MB, GB and TB count in 1,000s, KiB and so on in 1,024s.
 * False for anything else and from 2^53 on. */
bool tn_units_size(const char *text, double *bytes);
/* "512 B", "12.5 MiB". Returns `out`; 32 bytes always suffice. */
const char *tn_units_size_text(uint64_t bytes, char *out, size_t size);

#endif
