#include "executors/sdk/clearing.h"
#include "core/lib/cleanup.h"
#include "core/lib/json.h"
#include "core/lib/log.h"

#include <stdlib.h>
#include <string.h>

struct clearing {
    void (*done)(void *arg, const char *why);
    void *arg;
};

static void on_cleared(void *arg, const struct tn_msg *reply)
{
    auto_free struct clearing *clearing = arg;
    struct tn_err err = TN_ERR_INIT;
    auto_json cJSON *body = tn_json_parse(reply->body, reply->header.length, "PROGRAM_CLEARED", &err);

    if (reply->header.kind == TN_MSG_PROGRAM_CLEARED)
        clearing->done(clearing->arg, NULL);
    else
        clearing->done(clearing->arg, tn_json_string(body, "text", err.text));
}

void tn_clearing_ask(struct tn_executor *executor, const char *folder, void (*done)(void *arg, const char *why),
                     void *arg)
{
    struct clearing *clearing = malloc(sizeof(*clearing));
    auto_json cJSON *body = cJSON_CreateObject();
    auto_free char *text = NULL;

    if (clearing == NULL)
        tn_fatal(3, "out of memory: a removal");
    *clearing = (struct clearing){done, arg};
    cJSON_AddStringToObject(body, "folder", folder);
    text = tn_json_print(body);
    tn_peer_request(tn_executor_service(executor)->bus, TN_MSG_PROGRAM_CLEAR, TN_ADDRESS(TN_ROLE_KERNEL, 0), 0, 0, text,
                    strlen(text), 0, on_cleared, clearing);
}
