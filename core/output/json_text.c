#include "core/output/json_text.h"

#include <string.h>

void tn_json_text_string(struct tn_buf *out, const char *text)
{
    tn_buf_adds(out, "\"");
    while (*text != '\0') {
        size_t plain = 0;

        while ((unsigned char)text[plain] >= ' ' && text[plain] != '"' && text[plain] != '\\')
            plain++;
        tn_buf_add(out, text, plain);
        text += plain;
        if (*text == '\0')
            break;
        if (*text == '"' || *text == '\\')
            tn_buf_addf(out, "\\%c", *text);
        else if (*text == '\n')
            tn_buf_adds(out, "\\n");
        else
            tn_buf_addf(out, "\\u%04x", (unsigned)(unsigned char)*text);
        text++;
    }
    tn_buf_adds(out, "\"");
}

void tn_json_text_member(struct tn_buf *out, const char *key, const char *text)
{
    if (*text == '\0')
        return;
    tn_buf_addf(out, ",\"%s\":", key);
    tn_json_text_string(out, text);
}
