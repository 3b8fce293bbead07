/* tenon-proto-vectors: writes proto/vectors.txt; with --table, the list of messages as a table for documentation.
 *
 * One vector for each kind with every field set, edge values, and messages that must be refused, with the text. */
#include "proto/codec.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static enum tn_role first_role(unsigned roles)
{
    for (unsigned role = 1; role < TN_ROLE_COUNT; role++)
        if ((roles & 1u << role) != 0)
            return (enum tn_role)role;
    return TN_ROLE_NONE;
}

static void print_hex(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        printf("%02x", bytes[i]);
}

static void print_vector(const char *name, const struct tn_header *header, const char *body)
{
    uint8_t bytes[TN_HEADER_SIZE];

    tn_header_encode(header, bytes);
    printf("%s %u %u %u %" PRIu32 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu32 " %" PRIu32 " ", name,
           (unsigned)header->kind, (unsigned)header->source, (unsigned)header->destination, header->flags,
           header->sequence, header->in_reply_to, header->task, header->attempt, header->length);
    print_hex(bytes, sizeof(bytes));
    print_hex((const uint8_t *)body, header->length);
    printf("\n");
}

static void print_bad(const char *name, const uint8_t *bytes, size_t size)
{
    struct tn_header header;
    struct tn_err err = TN_ERR_INIT;

    if (tn_header_decode(bytes, size, &header, &err) == 0)
        tn_err_set(&err, TN_ERR_PROTOCOL, "NOT REFUSED");
    printf("!%s ", name);
    print_hex(bytes, size);
    printf(" %s\n", err.text);
}

static void print_all_kinds(void)
{
    size_t count;
    const struct tn_msg_info *list = tn_msg_list(&count);

    for (size_t i = 0; i < count; i++) {
        const char *body = list[i].max_body > 0 ? "{}" : "";
        struct tn_header header = {.kind = (uint16_t)list[i].kind,
                                   .source = TN_ADDRESS(first_role(list[i].senders), i % 3),
                                   .destination = TN_ADDRESS(first_role(list[i].receivers), i % 2),
                                   .flags = i % 2 != 0 ? TN_MSG_FLAG_RESENT : 0,
                                   .sequence = (uint64_t)1763720000u << 32 | (i + 1),
                                   .in_reply_to = i % 4 == 0 ? (uint64_t)1763720001u << 32 | i : 0,
                                   .task = 1000 + i,
                                   .attempt = 1 + (uint32_t)i % 5,
                                   .length = (uint32_t)strlen(body)};

        print_vector(list[i].name, &header, body);
    }
}

static void print_edges(void)
{
    const struct tn_header largest = {.kind = TN_MSG_ACK,
                                      .source = TN_ADDRESS(TN_ROLE_EXECUTOR, 255),
                                      .destination = TN_ADDRESS(TN_ROLE_CLIENT, 255),
                                      .flags = UINT32_MAX,
                                      .sequence = UINT64_MAX,
                                      .in_reply_to = UINT64_MAX - 1,
                                      .task = UINT64_MAX - 2,
                                      .attempt = UINT32_MAX};
    const struct tn_header ordered = {.kind = TN_MSG_ACK,
                                      .source = 0x0301,
                                      .destination = 0x0402,
                                      .flags = 0x05060708,
                                      .sequence = 0x1112131415161718,
                                      .in_reply_to = 0x2122232425262728,
                                      .task = 0x3132333435363738,
                                      .attempt = 0x41424344};
    uint8_t bytes[TN_HEADER_SIZE + 4] = {0};
    struct tn_header header = {.kind = TN_MSG_HEARTBEAT, .source = 0x0300, .destination = 0x0100, .sequence = 1};

    print_vector("largest", &largest, "");
    print_vector("byte_order", &ordered, "");
    tn_header_encode(&header, bytes);
    print_bad("short", bytes, TN_HEADER_SIZE - 1);
    print_bad("trailing", bytes, TN_HEADER_SIZE + 1);
    header.length = 4;
    tn_header_encode(&header, bytes);
    print_bad("too_long_for_kind", bytes, TN_HEADER_SIZE + 4);
    print_bad("cut", bytes, TN_HEADER_SIZE + 3);
    header.kind = 4711;
    tn_header_encode(&header, bytes);
    print_bad("unknown_kind", bytes, TN_HEADER_SIZE + 4);
    bytes[4] = 2;
    print_bad("version", bytes, TN_HEADER_SIZE + 4);
    bytes[0] = 'X';
    print_bad("magic", bytes, TN_HEADER_SIZE + 4);
}

static void print_roles(unsigned roles)
{
    const char *comma = "";

    for (unsigned role = 1; role < TN_ROLE_COUNT; role++) {
        if ((roles & 1u << role) == 0)
            continue;
        printf("%s%s", comma, tn_role_name((enum tn_role)role));
        comma = ", ";
    }
}

static void print_table(void)
{
    static const char *const channels[] = {
        [TN_CHANNEL_BUS] = "bus", [TN_CHANNEL_DATA] = "data", [TN_CHANNEL_EVENT] = "event"};
    size_t count;
    const struct tn_msg_info *list = tn_msg_list(&count);

    printf("| kind | number | channel | from | to | largest body | reply | meaning |\n");
    printf("| --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < count; i++) {
        printf("| `%s` | %u | %s | ", list[i].name, (unsigned)list[i].kind, channels[list[i].channel]);
        print_roles(list[i].senders);
        printf(" | ");
        print_roles(list[i].receivers);
        printf(" | %" PRIu32 " | %s | %s |\n", list[i].max_body,
               list[i].reply != TN_MSG_NONE ? tn_msg_name(list[i].reply) : "", list[i].meaning);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--table") == 0) {
        print_table();
        return 0;
    }
    printf("# Golden vectors of the message header, written by tenon-proto-vectors. All numbers are decimal, bytes are "
           "hexadecimal.\n"
           "# name kind source destination flags sequence in_reply_to task attempt length bytes\n"
           "# !name bytes what a decoder must refuse, and what ours says\n");
    print_all_kinds();
    print_edges();
    return 0;
}
