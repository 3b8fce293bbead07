/* JSON written straight into a buffer, for files of many small objects, where a tree of each would cost more than all
 * the rest. */
#ifndef TN_OUTPUT_JSON_TEXT_H
#define TN_OUTPUT_JSON_TEXT_H

#include "core/lib/buf.h"

/* A string with its quotes; `text` is UTF-8. */
void tn_json_text_string(struct tn_buf *out, const char *text);
/* ,"key":"text" — nothing if the text is empty. */
void tn_json_text_member(struct tn_buf *out, const char *key, const char *text);

#endif
