/* In which other forms a secret value can stand in output: percent-encoded, escaped in JSON, quoted for a shell, and in
 * base64. Pure. */
#ifndef TN_OUTPUT_MASK_FORMS_H
#define TN_OUTPUT_MASK_FORMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Called for each form; not 0 ends the enumeration. */
typedef int tn_mask_form_cb(void *arg, const char *bytes, size_t length);

/* The textual forms of a value that differ from it; some may come twice:
 * - percent-encoding (RFC 3986, HTML forms) as common encoders do it: they differ in what they leave alone, in the case
 * of the hexadecimal digits, and in "+" or "%20" for a blank;
 * - JSON strings (RFC 8259): with and without "\/", "\u003c" and the like, "\u00e4" for what is not ASCII;
 * - shells: in single quotes (dash, busybox, Python's shlex), in double quotes (bash's `export -p`), bash's %q and $''.
 * Returns what the last call returned. */
int tn_mask_forms(const char *value, size_t length, tn_mask_form_cb *cb, void *arg);

/* The base64 digits (0 to 63) that a value determines alone when `before` (0 to 2) bytes of other content stand before
 * it in its group of three. `out` has room for length * 4 / 3 + 1. `*open`: the next digit, if there is one, has bits
 * of the value, too. Returns how many; never fewer than `length` for values of four bytes and more. */
size_t tn_mask_base64(const char *value, size_t length, unsigned before, uint8_t *out, bool *open);

/* What a character is in base64, of either alphabet (RFC 4648, sections 4 and 5): its digit, or -1. */
int tn_mask_base64_digit(uint8_t byte);

#endif
