/* Header, permission table and chunks; and the golden vectors of proto/vectors.txt, both ways. */
#include "proto/codec.h"
#include "tests/unit/check.h"

#include <inttypes.h>
#include <stdlib.h>

#define K TN_ADDRESS(TN_ROLE_KERNEL, 0)
#define S TN_ADDRESS(TN_ROLE_SCHEDULER, 0)
#define C TN_ADDRESS(TN_ROLE_CLIENT, 0)
#define X TN_ADDRESS(TN_ROLE_EXECUTOR, 3)
#define O TN_ADDRESS(TN_ROLE_OUTPUT, 0)
#define E TN_ADDRESS(TN_ROLE_EVENTS, 0)

static void check_decode_error(const uint8_t *message, size_t size, const char *text)
{
    struct tn_header header;
    struct tn_err err = TN_ERR_INIT;

    CHECK_INT(tn_header_decode(message, size, &header, &err), -1);
    CHECK_STR(err.text, text);
}

static void test_decode_errors(void)
{
    uint8_t message[TN_HEADER_SIZE + 4] = {0};
    struct tn_header header = {.kind = TN_MSG_HEARTBEAT, .source = S, .destination = K, .sequence = 1};

    tn_header_encode(&header, message);
    check_decode_error(message, 47, "a message of 47 bytes is shorter than its header of 48");
    check_decode_error(message, 50, "HEARTBEAT says 0 bytes of body, 2 follow");
    header.length = 4;
    tn_header_encode(&header, message);
    check_decode_error(message, sizeof(message), "HEARTBEAT has a body of 4 bytes, at most 0 are allowed");
    header.length = UINT32_MAX;
    tn_header_encode(&header, message);
    check_decode_error(message, sizeof(message), "HEARTBEAT says 4294967295 bytes of body, 4 follow");
    header.kind = 4711;
    tn_header_encode(&header, message);
    check_decode_error(message, sizeof(message), "message kind 4711 is unknown");
    message[4] = 2;
    check_decode_error(message, sizeof(message), "a message has version 2, this program speaks 1");
    message[0] = 'X';
    check_decode_error(message, sizeof(message), "a message does not begin with TNN1");
}

static void check_permit(enum tn_msg_kind kind, uint16_t from, uint16_t to, enum tn_msg_channel channel,
                         const char *error)
{
    struct tn_header header = {.kind = (uint16_t)kind, .source = from, .destination = to};
    struct tn_err err = TN_ERR_INIT;

    CHECK_INT(tn_header_permit(&header, channel, &err), error[0] != '\0' ? -1 : 0);
    CHECK_STR(err.text, error);
}

static void test_permit(void)
{
    check_permit(TN_MSG_LEASE, S, X, TN_CHANNEL_BUS, "");
    check_permit(TN_MSG_LEASE, C, X, TN_CHANNEL_BUS, "LEASE may not be sent by client");
    check_permit(TN_MSG_LEASE, S, C, TN_CHANNEL_BUS, "LEASE may not be sent to client");
    check_permit(TN_MSG_LEASE, S, X, TN_CHANNEL_DATA, "LEASE does not belong on this channel");
    check_permit(TN_MSG_STREAM_WRITE, X, O, TN_CHANNEL_DATA, "");
    check_permit(TN_MSG_STREAM_WRITE, X, O, TN_CHANNEL_BUS, "STREAM_WRITE does not belong on this channel");
    check_permit(TN_MSG_ACK, O, X, TN_CHANNEL_DATA, "");
    check_permit(TN_MSG_EVENT, S, E, TN_CHANNEL_BUS, "");
    check_permit(TN_MSG_EVENT, S, E, TN_CHANNEL_EVENT, "");
    check_permit(TN_MSG_EVENT, S, E, TN_CHANNEL_DATA, "EVENT does not belong on this channel");
    check_permit(TN_MSG_EVENT, C, E, TN_CHANNEL_BUS, "EVENT may not be sent by client");
    check_permit(TN_MSG_READY, 0, K, TN_CHANNEL_BUS, "READY may not be sent by ?");
    check_permit(TN_MSG_READY, 0xffff, K, TN_CHANNEL_BUS, "READY may not be sent by ?");
    check_permit(TN_MSG_READY, S, 0xffff, TN_CHANNEL_BUS, "READY may not be sent to ?");
    check_permit((enum tn_msg_kind)999, S, K, TN_CHANNEL_BUS, "message kind 999 is unknown");
}

/* The list is sound: numbers differ, replies go back the way that the request came, and fit the largest message. */
static void test_list(void)
{
    size_t count;
    const struct tn_msg_info *list = tn_msg_list(&count);

    CHECK(count > 30);
    for (size_t i = 0; i < count; i++) {
        const struct tn_msg_info *reply = list[i].reply != TN_MSG_NONE ? tn_msg_info(list[i].reply) : NULL;

        CHECK(tn_msg_info(list[i].kind) == &list[i]);
        CHECK_STR(tn_msg_name(list[i].kind), list[i].name);
        CHECK(list[i].max_body + TN_HEADER_SIZE <= TN_MSG_SIZE_MAX);
        if (reply == NULL)
            continue;
        CHECK((list[i].receivers & ~reply->senders) == 0);
        CHECK((list[i].senders & ~reply->receivers) == 0);
        CHECK_INT(reply->reply, TN_MSG_NONE);
    }
    CHECK(tn_msg_info(0) == NULL);
    CHECK_STR(tn_msg_name(4711), "?");
}

static void test_chunk(void)
{
    const struct tn_chunk chunk = {.stream = 0x01020304, .flags = TN_CHUNK_END, .offset = 0x1122334455667788};
    struct tn_chunk out;
    uint8_t bytes[TN_CHUNK_SIZE];
    struct tn_err err = TN_ERR_INIT;

    tn_chunk_encode(&chunk, bytes);
    CHECK_INT(tn_chunk_decode(bytes, sizeof(bytes), &out, &err), 0);
    CHECK(out.stream == chunk.stream && out.flags == chunk.flags && out.offset == chunk.offset);
    CHECK_INT(tn_chunk_decode(bytes, 15, &out, &err), -1);
    CHECK_STR(err.text, "a chunk of 15 bytes is shorter than its prefix of 16");
}

static void test_names(void)
{
    char name[32];

    CHECK_STR(tn_address_name(X, name, sizeof(name)), "executor.3");
    CHECK_STR(tn_address_name(S, name, sizeof(name)), "scheduler");
    CHECK_STR(tn_address_name(0xff00, name, sizeof(name)), "?");
    CHECK_STR(tn_role_name(TN_ROLE_NONE), "?");
}

static size_t from_hex(const char *hex, uint8_t *out, size_t size)
{
    size_t used = 0;

    while (used < size && sscanf(hex + 2 * used, "%2hhx", &out[used]) == 1 && hex[2 * used + 1] != '\0')
        used++;
    return used;
}

/* "NAME kind source destination flags sequence in_reply_to task attempt length HEX", or "!NAME HEX error…". */
static void check_vector(const char *line)
{
    static uint8_t bytes[4096];
    static char hex[2 * sizeof(bytes) + 2];
    uint8_t again[TN_HEADER_SIZE];
    struct tn_header want = {0};
    struct tn_header got = {0};
    struct tn_err err = TN_ERR_INIT;
    size_t size;
    int used = 0;

    if (line[0] == '!') {
        if (sscanf(line, "!%*s %8192s %n", hex, &used) != 1) {
            CHECK_STR(line, "a vector");
            return;
        }
        size = from_hex(hex, bytes, sizeof(bytes));
        check_decode_error(bytes, size, line + used);
        return;
    }
    if (sscanf(line,
               "%*s %" SCNu16 " %" SCNu16 " %" SCNu16 " %" SCNu32 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu32
               " %" SCNu32 " %8192s",
               &want.kind, &want.source, &want.destination, &want.flags, &want.sequence, &want.in_reply_to, &want.task,
               &want.attempt, &want.length, hex) != 10) {
        CHECK_STR(line, "a vector");
        return;
    }
    size = from_hex(hex, bytes, sizeof(bytes));
    CHECK_INT(size, TN_HEADER_SIZE + want.length);
    CHECK_INT(tn_header_decode(bytes, size, &got, &err), 0);
    CHECK(got.kind == want.kind && got.source == want.source && got.destination == want.destination &&
          got.flags == want.flags && got.sequence == want.sequence && got.in_reply_to == want.in_reply_to &&
          got.task == want.task && got.attempt == want.attempt && got.length == want.length);
    tn_header_encode(&want, again);
    CHECK(memcmp(again, bytes, TN_HEADER_SIZE) == 0);
}

static void test_vectors(const char *path)
{
    static char line[20000];
    FILE *file = fopen(path, "re");
    size_t vectors = 0;
    size_t count;

    CHECK(file != NULL);
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '#' || line[0] == '\0')
            continue;
        check_vector(line);
        vectors++;
    }
    tn_msg_list(&count);
    CHECK(vectors > count); /* every kind has one, and errors have some */
    if (file != NULL)
        fclose(file);
}

/* Beside this file, whose name the compiler may have been given relative to the build folder. */
static void find_vectors(char *out, size_t size)
{
    const char *slash = strstr(__FILE__, "tests/unit/");
    const char *build = getenv("TENON_BUILD");

    snprintf(out, size, "%s%s%.*sproto/vectors.txt", __FILE__[0] != '/' && build != NULL ? build : "",
             __FILE__[0] != '/' && build != NULL ? "/" : "", slash != NULL ? (int)(slash - __FILE__) : 0, __FILE__);
}

int main(int argc, char **argv)
{
    char path[4096];

    test_decode_errors();
    test_permit();
    test_list();
    test_chunk();
    test_names();
    find_vectors(path, sizeof(path));
    test_vectors(argc > 1 ? argv[1] : path);
    return tn_check_result();
}
