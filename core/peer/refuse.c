#include "core/lib/cleanup.h"
#include "core/lib/json.h"
#include "core/peer/peer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct tn_msg_ref tn_msg_ref(const struct tn_msg *msg)
{
    return (struct tn_msg_ref){.kind = msg->header.kind,
                               .source = msg->header.source,
                               .sequence = msg->header.sequence,
                               .task = msg->header.task,
                               .attempt = msg->header.attempt};
}

void tn_peer_refuse(struct tn_peer *peer, const struct tn_msg_ref *request, const char *code, const char *fmt, ...)
{
    char text[2048];
    auto_json cJSON *body = cJSON_CreateObject();
    auto_free char *printed = NULL;
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    cJSON_AddStringToObject(body, "code", code);
    cJSON_AddStringToObject(body, "text", text);
    printed = tn_json_print(body);
    tn_peer_reply(peer, request, TN_MSG_REFUSED, printed, strlen(printed));
}
