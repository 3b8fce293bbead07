#include "executors/docker/upgrade.h"

#include "executors/docker/stream.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* "HTTP/1.1 101 UPGRADED" -> 101; -1 if it is none. */
static int status_of(const char *line)
{
    if (strncmp(line, "HTTP/1.", 7) != 0 || !isdigit((unsigned char)line[7]) || line[8] != ' ')
        return -1;
    for (int i = 9; i < 12; i++)
        if (!isdigit((unsigned char)line[i]))
            return -1;
    return (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
}

static void collect(struct tn_upgrade *upgrade, const char *bytes, size_t len)
{
    size_t room = TN_UPGRADE_BODY_MAX - upgrade->bytes.len;

    tn_buf_add(&upgrade->bytes, bytes, len < room ? len : room);
}

/* The whole head is in `bytes`: what does it say? */
static int judge(struct tn_upgrade *upgrade, struct tn_err *err)
{
    upgrade->status = status_of(upgrade->bytes.data);
    if (upgrade->status < 0)
        return tn_err_set(err, TN_ERR_PROTOCOL, "the answer is no HTTP; is it a Docker Engine?");
    tn_buf_reset(&upgrade->bytes);
    upgrade->state = upgrade->status == 101 || upgrade->status == 200 ? TN_UPGRADE_OPEN : TN_UPGRADE_REFUSED;
    return 0;
}

int tn_upgrade_feed(struct tn_upgrade *upgrade, const char *bytes, size_t len, size_t *used, struct tn_err *err)
{
    size_t at = 0;

    /* Byte by byte: the head is short, and what follows it belongs to somebody else. */
    while (upgrade->state == TN_UPGRADE_HEAD && at < len) {
        if (upgrade->bytes.len >= TN_UPGRADE_HEAD_MAX)
            return tn_err_set(err, TN_ERR_LIMIT, "the head of the answer is larger than %d bytes", TN_UPGRADE_HEAD_MAX);
        tn_buf_add(&upgrade->bytes, bytes + at++, 1);
        if (upgrade->bytes.len >= 4 && memcmp(upgrade->bytes.data + upgrade->bytes.len - 4, "\r\n\r\n", 4) == 0 &&
            judge(upgrade, err) != 0)
            return -1;
    }
    if (upgrade->state == TN_UPGRADE_REFUSED) {
        collect(upgrade, bytes + at, len - at);
        at = len;
    }
    *used = at;
    return 0;
}

void tn_upgrade_refusal(const struct tn_upgrade *upgrade, char *text, size_t size)
{
    const char *data = upgrade->bytes.data != NULL ? upgrade->bytes.data : "";
    /* The text may come in chunks, whose sizes surround it. */
    const char *object = strchr(data, '{');
    cJSON *json = object != NULL ? cJSON_ParseWithOpts(object, NULL, false) : NULL;
    const char *words = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "message"));
    char shown[300];

    tn_docker_text_copy(shown, sizeof(shown), words != NULL ? words : data);
    snprintf(text, size, "HTTP %d: %s", upgrade->status, shown[0] != '\0' ? shown : "no text");
    cJSON_Delete(json);
}

void tn_upgrade_free(struct tn_upgrade *upgrade)
{
    tn_buf_free(&upgrade->bytes);
}
