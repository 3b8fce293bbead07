#include "executors/agent/deny.h"
#include "core/lib/cleanup.h"
#include "core/lib/err.h"
#include "core/lib/metadata.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* rtnetlink(7) and linux/fib_rules.h, which musl's headers do not have. */
enum {
    FAMILY_NETLINK = 16,
    NEW_RULE = 32,                     /* RTM_NEWRULE */
    REQUEST_FLAGS = 5 | 0x200 | 0x400, /* NLM_F_REQUEST, ACK, EXCL, CREATE */
    ERROR_ANSWER = 2,                  /* NLMSG_ERROR */
    TO_TABLE = 1,                      /* FR_ACT_TO_TBL */
    PROHIBIT = 8,                      /* FR_ACT_PROHIBIT: EACCES at once */
    TABLE_MAIN = 254,
    RULE_DST = 1,      /* FRA_DST */
    RULE_PRIORITY = 6, /* FRA_PRIORITY */
    RULE_PORTS = 24,   /* FRA_DPORT_RANGE */
    FIRST = 100,       /* priorities behind the table of local addresses, before the main one */
};

struct request {
    struct {
        uint32_t length;
        uint16_t type;
        uint16_t flags;
        uint32_t sequence;
        uint32_t port;
    } head;
    struct {
        uint8_t family;
        uint8_t dst_length;
        uint8_t src_length;
        uint8_t tos;
        uint8_t table;
        uint8_t reserved[2];
        uint8_t action;
        uint32_t flags;
    } rule;
    uint8_t attributes[64];
};

static void add(struct request *request, uint16_t type, const void *bytes, uint16_t length)
{
    uint8_t *at = (uint8_t *)request + request->head.length;
    const uint16_t head[2] = {(uint16_t)(sizeof(head) + length), type};

    memcpy(at, head, sizeof(head));
    memcpy(at + sizeof(head), bytes, length);
    request->head.length += (uint32_t)(sizeof(head) + (length + 3u) / 4 * 4);
}

/* Waits for the kernel's answer, which comes at once. */
static int ask(int fd, const struct request *request, struct tn_err *err)
{
    struct {
        uint32_t length;
        uint16_t type;
        uint16_t flags;
        uint32_t sequence;
        uint32_t port;
        int32_t error;
        uint8_t rest[256];
    } answer;

    if (send(fd, request, request->head.length, 0) < 0 || recv(fd, &answer, sizeof(answer), 0) < 20)
        return tn_err_sys(err, errno, "no answer about a rule");
    if (answer.type != ERROR_ANSWER || (answer.error != 0 && answer.error != -EEXIST))
        return tn_err_sys(err, answer.type == ERROR_ANSWER ? -answer.error : EPROTO, "a rule is refused");
    return 0;
}

/* Port 53 goes where it would go; all else ends there. */
static int deny(int fd, uint8_t family, const void *address, uint8_t length, uint8_t bits, struct tn_err *err)
{
    const uint16_t ports[2] = {TN_METADATA_OPEN_PORT, TN_METADATA_OPEN_PORT};

    for (uint32_t i = 0; i < 2; i++) {
        const uint32_t priority = FIRST + i;
        struct request request = {
            .head = {.length = sizeof(request.head) + sizeof(request.rule), .type = NEW_RULE, .flags = REQUEST_FLAGS},
            .rule = {.family = family,
                     .dst_length = bits,
                     .table = i == 0 ? TABLE_MAIN : 0,
                     .action = i == 0 ? TO_TABLE : PROHIBIT}};

        add(&request, RULE_DST, address, length);
        add(&request, RULE_PRIORITY, &priority, sizeof(priority));
        if (i == 0)
            add(&request, RULE_PORTS, ports, sizeof(ports));
        if (ask(fd, &request, err) != 0)
            return -1;
    }
    return 0;
}

static int deny_all(struct tn_err *err)
{
    auto_fd int fd = socket(FAMILY_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return tn_err_sys(err, errno, "no netlink socket");
    for (size_t i = 0; i < sizeof(tn_metadata_v4) / sizeof(tn_metadata_v4[0]); i++)
        if (deny(fd, AF_INET, tn_metadata_v4[i].address, 4, tn_metadata_v4[i].bits, err) != 0)
            return -1;
    if (access("/proc/net/if_inet6", F_OK) != 0) /* a kernel without IPv6 */
        return 0;
    for (size_t i = 0; i < sizeof(tn_metadata_v6) / sizeof(tn_metadata_v6[0]); i++)
        if (deny(fd, AF_INET6, tn_metadata_v6[i], 16, 128, err) != 0)
            return -1;
    return 0;
}

int tn_deny_main(void)
{
    struct tn_err err = TN_ERR_INIT;

    if (deny_all(&err) == 0)
        return 0;
    fprintf(stderr, "tenon-agent deny-metadata: %s\n", err.text);
    return 1;
}
