/* tenon-compiler: COMPILE in, COMPILED out, one at a time. It reads what strangers wrote, so it can do nothing else: no
 * file, no network but its one socket; memory and time of one request are bounded by limits. */
#include "core/compiler/compiler.h"
#include "core/compiler/profile.h"
#include "core/lib/confine.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "core/peer/service.h"

#include <stdlib.h>
#include <string.h>

static const struct tn_confine confine = {.profile = &tn_profile_compiler};

static void compile(struct tn_peer *peer, const struct tn_msg *msg)
{
    struct tn_msg_ref ref = tn_msg_ref(msg);
    struct tn_err err = TN_ERR_INIT;
    auto_json cJSON *body = tn_json_parse(msg->body, msg->header.length, "COMPILE", &err);
    const char *config = tn_json_string(body, "config", NULL);
    auto_json cJSON *result = NULL;
    struct tn_compile_options options = {.file_name = tn_json_string(body, "file", "config.yml"),
                                         .workflow = tn_json_string(body, "workflow", NULL),
                                         .job = tn_json_string(body, "job", NULL),
                                         .parameters = tn_json_get(body, "parameters"),
                                         .pipeline_values = tn_json_get(body, "pipeline_values")};
    char *text;

    if (config == NULL) {
        tn_peer_refuse(peer, &ref, "invalid", "%s",
                       err.code != TN_OK ? err.text : "COMPILE: expected \"config\", a text");
        return;
    }
    result = tn_compile(config, strlen(config), &options);
    text = tn_json_print(result);
    if (strlen(text) > tn_msg_info(TN_MSG_COMPILED)->max_body)
        tn_peer_refuse(peer, &ref, "limit", "the compiled plan has %zu bytes, at most %u are allowed", strlen(text),
                       tn_msg_info(TN_MSG_COMPILED)->max_body);
    else
        tn_peer_reply(peer, &ref, TN_MSG_COMPILED, text, strlen(text));
    free(text);
}

static void on_message(void *arg, struct tn_peer *peer, const struct tn_msg *msg)
{
    struct tn_msg_ref ref = tn_msg_ref(msg);

    if (msg->header.kind == TN_MSG_COMPILE)
        compile(peer, msg);
    else if (tn_msg_info(msg->header.kind)->reply != TN_MSG_NONE)
        tn_peer_refuse(peer, &ref, "invalid", "the compiler does not take %s", tn_msg_name(msg->header.kind));
}

int main(void)
{
    struct tn_service service;
    struct tn_err err = TN_ERR_INIT;
    char confinement[TN_CONFINE_TEXT] = "";
    int status;

    if (tn_service_init(&service, "compiler", &err) != 0)
        tn_fatal(3, "%s", err.text);
    if (tn_confine_files(&confine, confinement, sizeof(confinement), &err) != 0)
        tn_debug("confinement: %s", err.text);
    service.once = true;
    if (tn_service_open_bus(&service, on_message, NULL, &err) != 0)
        tn_fatal(3, "%s", err.text);
    if (tn_confine_syscalls(&confine, confinement, sizeof(confinement), &err) != 0)
        tn_debug("confinement: %s", err.text);
    tn_service_ready(&service, confinement);
    status = tn_service_run(&service);
    tn_service_close(&service);
    return status;
}
