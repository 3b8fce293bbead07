/* The agent's codec: the golden vectors of proto/AGENT.md both ways, every field's round trip, and malformed bytes. */
#include "proto/agent_frames.h"
#include "tests/unit/check.h"

#include <stdlib.h>

static const char golden_hello[] =
    "544e413101000000000000003c0000000000000000000000159870588410dd4b01000000000102030405060708090a0b0c0d0e0f"
    "00000000000000000000000000000000887766554433221100000000000000000000000000000000";
static const char golden_ack[] = "544e413102000000000000000000000000100000000000000000000099054735";
static const char golden_spawn[] =
    "544e413103000000070000003200000001000000000000001d89eefd87d1ab59010000000200000001000000040000002f746d7000"
    "0000000000040000006563686f000200000068690003000000413d6200";
static const char golden_signal[] = "544e41310600000007000000080000000200000000000000a0aabe04d27e74680f00000001000000";
static const char golden_done[] = "544e41314300000000000000000000000200000000000000000000005fc073d0";
static const char golden_out[] = "07000000010000000300000068690a";
static const char golden_exit[] = "0700000003000000080000000001000003000000";

static char *hex(const uint8_t *bytes, size_t len)
{
    static char text[2048];

    for (size_t i = 0; i < len; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    return text;
}

static size_t unhex(const char *text, uint8_t *out)
{
    size_t len = strlen(text) / 2;

    for (size_t i = 0; i < len; i++) {
        char pair[3] = {text[2 * i], text[2 * i + 1], '\0'};

        out[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return len;
}

static void check_packet(struct tn_agent_packet packet, const uint8_t *payload, size_t len, const char *golden)
{
    uint8_t bytes[512];
    struct tn_agent_packet back;

    packet.length = (uint32_t)len;
    tn_agent_packet_put(bytes, &packet, payload);
    memcpy(bytes + TN_AGENT_PACKET_HEADER, payload, len);
    CHECK_STR(hex(bytes, TN_AGENT_PACKET_HEADER + len), golden);
    CHECK_INT(tn_agent_packet_get(bytes, &back), 0);
    CHECK_INT(back.type, packet.type);
    CHECK_INT(back.channel, packet.channel);
    CHECK_INT(back.number, packet.number);
    CHECK_INT(back.length, len);
    CHECK_INT(tn_agent_packet_verify(&back, bytes + TN_AGENT_PACKET_HEADER), 0);
    for (size_t i = 0; i < 8 * TN_AGENT_PACKET_HEADER; i++) {
        bytes[i / 8] ^= (uint8_t)(1 << i % 8);
        CHECK_INT(tn_agent_packet_get(bytes, &back), -1);
        bytes[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    for (size_t i = 0; i < len; i++) {
        CHECK_INT(tn_agent_packet_get(bytes, &back), 0);
        bytes[TN_AGENT_PACKET_HEADER + i] ^= 0x40;
        CHECK_INT(tn_agent_packet_verify(&back, bytes + TN_AGENT_PACKET_HEADER), -1);
        bytes[TN_AGENT_PACKET_HEADER + i] ^= 0x40;
    }
}

static void test_golden(void)
{
    struct tn_agent_hello hello = {.version = 1, .life = 0x1122334455667788};
    const char *argv[] = {"echo", "hi", NULL};
    const char *envp[] = {"A=b", NULL};
    struct tn_agent_spawn spawn = {TN_AGENT_STDIN_OPEN, "/tmp", "", 2, 1, argv, envp};
    uint8_t payload[256];
    size_t len;

    for (uint8_t i = 0; i < 16; i++)
        hello.nonce[i] = i;
    len = tn_agent_hello_put(payload, sizeof(payload), &hello);
    check_packet((struct tn_agent_packet){.type = TN_AGENT_HELLO}, payload, len, golden_hello);
    check_packet((struct tn_agent_packet){.type = TN_AGENT_ACK, .number = 4096}, payload, 0, golden_ack);
    len = tn_agent_spawn_put(payload, sizeof(payload), &spawn);
    check_packet((struct tn_agent_packet){.type = TN_AGENT_SPAWN, .channel = 7, .number = 1}, payload, len,
                 golden_spawn);
    len = tn_agent_pair_put(payload, sizeof(payload), 15, TN_AGENT_TREE);
    check_packet((struct tn_agent_packet){.type = TN_AGENT_SIGNAL, .channel = 7, .number = 2}, payload, len,
                 golden_signal);
    check_packet((struct tn_agent_packet){.type = TN_AGENT_DONE, .number = 2}, payload, 0, golden_done);
    CHECK_INT(tn_agent_crc32(0, "123456789", 9), 0xcbf43926);
    CHECK_INT(tn_agent_crc32(tn_agent_crc32(0, "1234", 4), "56789", 5), 0xcbf43926);
    CHECK_STR(tn_agent_packet_name(TN_AGENT_WELCOME), "WELCOME");
    CHECK_STR(tn_agent_packet_name(50), "?");
    CHECK(tn_agent_packet_reliable(TN_AGENT_SIGNAL) && !tn_agent_packet_reliable(TN_AGENT_ACK));
}

static void test_frames(void)
{
    uint8_t bytes[64];
    struct tn_agent_frame frame;
    struct tn_agent_exit end;
    size_t len = unhex(golden_out, bytes);

    CHECK_INT(tn_agent_frame_get(bytes, &frame), 0);
    CHECK(frame.type == TN_AGENT_FRAME_OUT && frame.channel == 7 && frame.length == 3 && len == 15);
    tn_agent_frame_put(bytes, &frame);
    CHECK_STR(hex(bytes, len), golden_out);
    unhex(golden_exit, bytes);
    CHECK_INT(tn_agent_frame_get(bytes, &frame), 0);
    CHECK_INT(tn_agent_exit_get(bytes + 12, frame.length, &end), 0);
    CHECK(end.kind == TN_AGENT_EXITED && end.flags == TN_AGENT_HALTED && end.code == 3 && end.text_len == 0);
    /* All 32 bits of a status survive (Windows has such), and so does text. */
    end = (struct tn_agent_exit){TN_AGENT_NO_SPAWN, TN_AGENT_MISSING, 0xc0000005u, "why", 3};
    len = tn_agent_exit_put(bytes, sizeof(bytes), &end);
    CHECK_INT(tn_agent_exit_get(bytes, len, &end), 0);
    CHECK(end.code == 0xc0000005u && end.text_len == 3 && memcmp(end.text, "why", 3) == 0);
    bytes[0] = 9;
    CHECK_INT(tn_agent_exit_get(bytes, len, &end), -1);
    CHECK_INT(tn_agent_exit_get(bytes, 7, &end), -1);
    memset(bytes, 0, sizeof(bytes));
    CHECK_INT(tn_agent_frame_get(bytes, &frame), -1); /* type 0 */
    bytes[4] = TN_AGENT_FRAME_OUT;
    bytes[11] = 1; /* 16 MiB */
    CHECK_INT(tn_agent_frame_get(bytes, &frame), -1);
}

/* Every cut of a valid payload is refused, and so is every word count that the payload cannot hold. */
static void test_spawn_malformed(void)
{
    uint8_t bytes[256];
    const char *vector[64];
    struct tn_agent_spawn spawn;
    size_t len = unhex(golden_spawn, bytes) - TN_AGENT_PACKET_HEADER;
    uint8_t *payload = bytes + TN_AGENT_PACKET_HEADER;

    CHECK_INT(tn_agent_words(TN_AGENT_SPAWN, payload, len), 3);
    CHECK_INT(tn_agent_spawn_get(payload, len, &spawn, vector), 0);
    CHECK_STR(spawn.cwd, "/tmp");
    CHECK_STR(spawn.argv[1], "hi");
    CHECK_STR(spawn.envp[0], "A=b");
    CHECK(spawn.argv[2] == NULL && spawn.envp[1] == NULL && spawn.flags == TN_AGENT_STDIN_OPEN);
    for (size_t cut = 0; cut < len; cut++)
        CHECK_INT(tn_agent_spawn_get(payload, cut, &spawn, vector), -1);
    payload[16] = 'x'; /* the first byte of "/tmp" */
    payload[17] = '\0';
    CHECK_INT(tn_agent_spawn_get(payload, len, &spawn, vector), -1);
    for (int place = 4; place < 12; place++) {
        unhex(golden_spawn, bytes);
        payload[place] = 0xff;
        CHECK(tn_agent_words(TN_AGENT_SPAWN, payload, len) < 0);
    }
    unhex(golden_spawn, bytes);
    payload[12] = payload[13] = payload[14] = payload[15] = 0xff;
    CHECK_INT(tn_agent_spawn_get(payload, len, &spawn, vector), -1);
}

static void test_round_trips(void)
{
    const char *paths[] = {"a", "b c", NULL};
    const char *vector[8];
    struct tn_agent_tree tree = {TN_AGENT_GLOB, 1ull << 40, "/x", 2, paths};
    struct tn_agent_welcome welcome = {.version = 1,
                                       .result = TN_AGENT_GAP,
                                       .start = 5,
                                       .head = 6,
                                       .applied = 7,
                                       .facts = "os=linux\n",
                                       .facts_len = 9};
    struct tn_agent_window window = {1ull << 33, 1ull << 34};
    uint8_t bytes[256];
    const char *text;
    uint32_t text_len;
    uint32_t code;
    size_t len = tn_agent_tree_put(bytes, sizeof(bytes), &tree);

    CHECK_INT(tn_agent_tree_put(NULL, 0, &tree), len);
    CHECK_INT(tn_agent_tree_get(bytes, len, &tree, vector), 0);
    CHECK_STR(tree.paths[1], "b c");
    CHECK_INT(tree.max, 1ll << 40);
    CHECK_INT(tn_agent_tree_get(bytes, len - 1, &tree, vector), -1);
    len = tn_agent_welcome_put(bytes, sizeof(bytes), &welcome);
    CHECK_INT(tn_agent_welcome_get(bytes, len, &welcome), 0);
    CHECK(welcome.result == TN_AGENT_GAP && welcome.start == 5 && welcome.head == 6 && welcome.applied == 7);
    CHECK_STR(welcome.facts, "os=linux\n");
    for (size_t cut = 0; cut < len; cut++)
        CHECK_INT(tn_agent_welcome_get(bytes, cut, &welcome), -1);
    len = tn_agent_window_put(bytes, sizeof(bytes), &window);
    CHECK_INT(tn_agent_window_get(bytes, len, &window), 0);
    CHECK(window.applied == 1ull << 33 && window.limit == 1ull << 34);
    len = tn_agent_note_put(bytes, sizeof(bytes), 1, "gone", 4);
    CHECK_INT(tn_agent_note_get(bytes, len, &code, &text, &text_len), 0);
    CHECK(code == 1 && text_len == 4 && memcmp(text, "gone", 4) == 0);
}

int main(void)
{
    test_golden();
    test_frames();
    test_spawn_malformed();
    test_round_trips();
    return tn_check_result();
}
