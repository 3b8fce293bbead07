#include "proto/agent_frames.h"

#include <string.h>

/* A writer that counts on when the room ends, so that one pass measures and a second one writes. */
struct writer {
    uint8_t *out;
    size_t size;
    size_t len;
};

struct reader {
    const uint8_t *in;
    size_t len;
    int failed; /* set once a read went past the end; every later read gives 0 */
};

uint32_t tn_agent_crc32(uint32_t crc, const void *bytes, size_t len)
{
    static uint32_t table[256];
    const uint8_t *at = bytes;

    if (table[1] == 0) {
        for (uint32_t n = 0; n < 256; n++) {
            uint32_t value = n;

            for (int bit = 0; bit < 8; bit++)
                value = (value & 1) != 0 ? 0xedb88320u ^ (value >> 1) : value >> 1;
            table[n] = value;
        }
    }
    crc = ~crc;
    while (len-- > 0)
        crc = table[(crc ^ *at++) & 0xff] ^ (crc >> 8);
    return ~crc;
}

static void put_le(uint8_t *out, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get_le(const uint8_t *in, int bytes)
{
    uint64_t value = 0;

    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)in[i] << (8 * i);
    return value;
}

static void write_bytes(struct writer *writer, const void *bytes, size_t len)
{
    if (writer->out != NULL && len <= writer->size && writer->len <= writer->size - len && len > 0)
        memcpy(writer->out + writer->len, bytes, len);
    writer->len += len;
}

static void write_number(struct writer *writer, uint64_t value, int bytes)
{
    uint8_t place[8];

    put_le(place, value, bytes);
    write_bytes(writer, place, (size_t)bytes);
}

/* Length, bytes, and a NUL so that the decoder can point into the payload. */
static void write_word(struct writer *writer, const char *word)
{
    size_t len = strlen(word);

    write_number(writer, len, 4);
    write_bytes(writer, word, len + 1);
}

static const uint8_t *read_bytes(struct reader *reader, size_t len)
{
    const uint8_t *at = reader->in;

    if (reader->failed || len > reader->len) {
        reader->failed = 1;
        return NULL;
    }
    reader->in += len;
    reader->len -= len;
    return at;
}

static uint64_t read_number(struct reader *reader, int bytes)
{
    const uint8_t *at = read_bytes(reader, (size_t)bytes);

    return at != NULL ? get_le(at, bytes) : 0;
}

static void read_array(struct reader *reader, uint8_t *out, size_t len)
{
    const uint8_t *at = read_bytes(reader, len);

    if (at != NULL)
        memcpy(out, at, len);
}

static const char *read_word(struct reader *reader)
{
    size_t len = (size_t)read_number(reader, 4);
    const char *word;

    if (len >= TN_AGENT_COMMAND_MAX)
        reader->failed = 1;
    word = (const char *)read_bytes(reader, len + 1);
    if (word == NULL || word[len] != '\0' || memchr(word, '\0', len) != NULL) {
        reader->failed = 1;
        return "";
    }
    return word;
}

static int read_end(const struct reader *reader)
{
    return reader->failed || reader->len != 0 ? -1 : 0;
}

struct packet_rule {
    const char *name;
    uint16_t type;
    uint16_t reliable;
    uint32_t min;
    uint32_t max;
};

static const struct packet_rule *packet_rule(unsigned type)
{
    static const struct packet_rule rules[] = {
#define X(name, number, min, max, reliable) {#name, number, reliable, min, max},
        TN_AGENT_PACKETS(X)
#undef X
    };

    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
        if (rules[i].type == type)
            return &rules[i];
    return NULL;
}

const char *tn_agent_packet_name(unsigned type)
{
    const struct packet_rule *rule = packet_rule(type);

    return rule != NULL ? rule->name : "?";
}

int tn_agent_packet_reliable(unsigned type)
{
    const struct packet_rule *rule = packet_rule(type);

    return rule != NULL && rule->reliable;
}

void tn_agent_packet_put(uint8_t out[TN_AGENT_PACKET_HEADER], const struct tn_agent_packet *packet, const void *payload)
{
    uint32_t crc = payload != NULL && packet->type != TN_AGENT_DATA ? tn_agent_crc32(0, payload, packet->length) : 0;

    put_le(out, TN_AGENT_MAGIC, 4);
    put_le(out + 4, packet->type, 2);
    put_le(out + 6, 0, 2);
    put_le(out + 8, packet->channel, 4);
    put_le(out + 12, packet->length, 4);
    put_le(out + 16, packet->number, 8);
    put_le(out + 24, crc, 4);
    put_le(out + 28, tn_agent_crc32(0, out, 28), 4);
}

int tn_agent_packet_get(const uint8_t in[TN_AGENT_PACKET_HEADER], struct tn_agent_packet *packet)
{
    const struct packet_rule *rule;

    if (get_le(in, 4) != TN_AGENT_MAGIC || get_le(in + 28, 4) != tn_agent_crc32(0, in, 28) || get_le(in + 6, 2) != 0)
        return -1;
    packet->type = (uint16_t)get_le(in + 4, 2);
    packet->channel = (uint32_t)get_le(in + 8, 4);
    packet->length = (uint32_t)get_le(in + 12, 4);
    packet->number = get_le(in + 16, 8);
    packet->payload_crc = (uint32_t)get_le(in + 24, 4);
    rule = packet_rule(packet->type);
    return rule != NULL && packet->length >= rule->min && packet->length <= rule->max ? 0 : -1;
}

int tn_agent_packet_verify(const struct tn_agent_packet *packet, const void *payload)
{
    if (packet->type == TN_AGENT_DATA)
        return 0;
    return tn_agent_crc32(0, payload, packet->length) == packet->payload_crc ? 0 : -1;
}

void tn_agent_frame_put(uint8_t out[TN_AGENT_FRAME_HEADER], const struct tn_agent_frame *frame)
{
    put_le(out, frame->channel, 4);
    put_le(out + 4, frame->type, 1);
    put_le(out + 5, 0, 3);
    put_le(out + 8, frame->length, 4);
}

int tn_agent_frame_get(const uint8_t in[TN_AGENT_FRAME_HEADER], struct tn_agent_frame *frame)
{
    frame->channel = (uint32_t)get_le(in, 4);
    frame->type = in[4];
    frame->length = (uint32_t)get_le(in + 8, 4);
    if (get_le(in + 5, 3) != 0 || frame->type < TN_AGENT_FRAME_OUT || frame->type > TN_AGENT_FRAME_ERROR)
        return -1;
    return frame->length <= TN_AGENT_FRAME_MAX ? 0 : -1;
}

size_t tn_agent_hello_put(uint8_t *out, size_t size, const struct tn_agent_hello *hello)
{
    struct writer writer = {out, size, 0};

    write_number(&writer, hello->version, 4);
    write_bytes(&writer, hello->nonce, TN_AGENT_NONCE);
    write_bytes(&writer, hello->boot, TN_AGENT_BOOT);
    write_number(&writer, hello->life, 8);
    write_number(&writer, hello->acked, 8);
    write_number(&writer, hello->offset, 8);
    return writer.len;
}

int tn_agent_hello_get(const uint8_t *in, size_t len, struct tn_agent_hello *hello)
{
    struct reader reader = {in, len, 0};

    hello->version = (uint32_t)read_number(&reader, 4);
    read_array(&reader, hello->nonce, TN_AGENT_NONCE);
    read_array(&reader, hello->boot, TN_AGENT_BOOT);
    hello->life = read_number(&reader, 8);
    hello->acked = read_number(&reader, 8);
    hello->offset = read_number(&reader, 8);
    return read_end(&reader);
}

size_t tn_agent_welcome_put(uint8_t *out, size_t size, const struct tn_agent_welcome *welcome)
{
    struct writer writer = {out, size, 0};

    write_number(&writer, welcome->version, 4);
    write_number(&writer, welcome->result, 4);
    write_bytes(&writer, welcome->nonce, TN_AGENT_NONCE);
    write_bytes(&writer, welcome->boot, TN_AGENT_BOOT);
    write_number(&writer, welcome->start, 8);
    write_number(&writer, welcome->head, 8);
    write_number(&writer, welcome->applied, 8);
    write_number(&writer, welcome->facts_len, 4);
    write_bytes(&writer, welcome->facts, welcome->facts_len);
    write_number(&writer, 0, 4); /* the facts end with a NUL; the other three bytes are reserved */
    return writer.len;
}

int tn_agent_welcome_get(const uint8_t *in, size_t len, struct tn_agent_welcome *welcome)
{
    struct reader reader = {in, len, 0};

    welcome->version = (uint32_t)read_number(&reader, 4);
    welcome->result = (uint32_t)read_number(&reader, 4);
    read_array(&reader, welcome->nonce, TN_AGENT_NONCE);
    read_array(&reader, welcome->boot, TN_AGENT_BOOT);
    welcome->start = read_number(&reader, 8);
    welcome->head = read_number(&reader, 8);
    welcome->applied = read_number(&reader, 8);
    welcome->facts_len = (uint32_t)read_number(&reader, 4);
    welcome->facts = (const char *)read_bytes(&reader, welcome->facts_len);
    if (read_number(&reader, 4) != 0 || read_end(&reader) != 0)
        return -1;
    return memchr(welcome->facts, '\0', welcome->facts_len) == NULL ? 0 : -1;
}

size_t tn_agent_spawn_put(uint8_t *out, size_t size, const struct tn_agent_spawn *spawn)
{
    struct writer writer = {out, size, 0};

    write_number(&writer, spawn->flags, 4);
    write_number(&writer, spawn->argc, 4);
    write_number(&writer, spawn->envc, 4);
    write_word(&writer, spawn->cwd);
    write_word(&writer, spawn->user);
    for (uint32_t i = 0; i < spawn->argc; i++)
        write_word(&writer, spawn->argv[i]);
    for (uint32_t i = 0; i < spawn->envc; i++)
        write_word(&writer, spawn->envp[i]);
    return writer.len;
}

long tn_agent_words(unsigned type, const uint8_t *in, size_t len)
{
    struct reader reader = {in, len, 0};
    uint64_t words;

    read_bytes(&reader, 4);
    words = read_number(&reader, 4);
    if (type == TN_AGENT_SPAWN)
        words += read_number(&reader, 4);
    /* Each word takes five bytes at least, so a small payload cannot announce a large vector. */
    if (reader.failed || words > 2ull * TN_AGENT_WORDS_MAX || words > len / 5)
        return -1;
    return (long)words;
}

int tn_agent_spawn_get(const uint8_t *in, size_t len, struct tn_agent_spawn *spawn, const char **vector)
{
    struct reader reader = {in, len, 0};

    if (tn_agent_words(TN_AGENT_SPAWN, in, len) < 0)
        return -1;
    spawn->flags = (uint32_t)read_number(&reader, 4);
    spawn->argc = (uint32_t)read_number(&reader, 4);
    spawn->envc = (uint32_t)read_number(&reader, 4);
    spawn->cwd = read_word(&reader);
    spawn->user = read_word(&reader);
    spawn->argv = vector;
    spawn->envp = vector + spawn->argc + 1;
    for (uint32_t i = 0; i < spawn->argc; i++)
        spawn->argv[i] = read_word(&reader);
    for (uint32_t i = 0; i < spawn->envc; i++)
        spawn->envp[i] = read_word(&reader);
    spawn->argv[spawn->argc] = NULL;
    spawn->envp[spawn->envc] = NULL;
    return spawn->argc >= 1 ? read_end(&reader) : -1;
}

size_t tn_agent_tree_put(uint8_t *out, size_t size, const struct tn_agent_tree *tree)
{
    struct writer writer = {out, size, 0};

    write_number(&writer, tree->flags, 4);
    write_number(&writer, tree->count, 4);
    write_number(&writer, tree->max, 8);
    write_word(&writer, tree->path);
    for (uint32_t i = 0; i < tree->count; i++)
        write_word(&writer, tree->paths[i]);
    return writer.len;
}

int tn_agent_tree_get(const uint8_t *in, size_t len, struct tn_agent_tree *tree, const char **vector)
{
    struct reader reader = {in, len, 0};

    if (tn_agent_words(TN_AGENT_TREE_GET, in, len) < 0)
        return -1;
    tree->flags = (uint32_t)read_number(&reader, 4);
    tree->count = (uint32_t)read_number(&reader, 4);
    tree->max = read_number(&reader, 8);
    tree->path = read_word(&reader);
    tree->paths = vector;
    for (uint32_t i = 0; i < tree->count; i++)
        vector[i] = read_word(&reader);
    vector[tree->count] = NULL;
    return tree->path[0] != '\0' ? read_end(&reader) : -1;
}

size_t tn_agent_pair_put(uint8_t *out, size_t size, uint32_t first, uint32_t second)
{
    struct writer writer = {out, size, 0};

    write_number(&writer, first, 4);
    write_number(&writer, second, 4);
    return writer.len;
}

int tn_agent_pair_get(const uint8_t *in, size_t len, uint32_t *first, uint32_t *second)
{
    struct reader reader = {in, len, 0};

    *first = (uint32_t)read_number(&reader, 4);
    *second = (uint32_t)read_number(&reader, 4);
    return read_end(&reader);
}

size_t tn_agent_u64_put(uint8_t *out, size_t size, uint64_t value)
{
    struct writer writer = {out, size, 0};

    write_number(&writer, value, 8);
    return writer.len;
}

int tn_agent_u64_get(const uint8_t *in, size_t len, uint64_t *value)
{
    struct reader reader = {in, len, 0};

    *value = read_number(&reader, 8);
    return reader.failed ? -1 : 0;
}

size_t tn_agent_exit_put(uint8_t *out, size_t size, const struct tn_agent_exit *end)
{
    struct writer writer = {out, size, 0};

    write_number(&writer, end->kind, 1);
    write_number(&writer, end->flags, 1);
    write_number(&writer, 0, 2);
    write_number(&writer, end->code, 4);
    write_bytes(&writer, end->text, end->text_len);
    return writer.len;
}

int tn_agent_exit_get(const uint8_t *in, size_t len, struct tn_agent_exit *end)
{
    struct reader reader = {in, len, 0};

    end->kind = (uint8_t)read_number(&reader, 1);
    end->flags = (uint8_t)read_number(&reader, 1);
    read_number(&reader, 2);
    end->code = (uint32_t)read_number(&reader, 4);
    end->text_len = (uint32_t)reader.len;
    end->text = (const char *)reader.in;
    return reader.failed || end->kind > TN_AGENT_NO_SPAWN || end->text_len > TN_AGENT_TEXT_MAX ? -1 : 0;
}

size_t tn_agent_window_put(uint8_t *out, size_t size, const struct tn_agent_window *window)
{
    struct writer writer = {out, size, 0};

    write_number(&writer, window->applied, 8);
    write_number(&writer, window->limit, 8);
    return writer.len;
}

int tn_agent_window_get(const uint8_t *in, size_t len, struct tn_agent_window *window)
{
    struct reader reader = {in, len, 0};

    window->applied = read_number(&reader, 8);
    window->limit = read_number(&reader, 8);
    return read_end(&reader);
}

size_t tn_agent_note_put(uint8_t *out, size_t size, uint32_t code, const char *text, uint32_t text_len)
{
    struct writer writer = {out, size, 0};

    write_number(&writer, code, 4);
    write_bytes(&writer, text, text_len);
    return writer.len;
}

int tn_agent_note_get(const uint8_t *in, size_t len, uint32_t *code, const char **text, uint32_t *text_len)
{
    struct reader reader = {in, len, 0};

    *code = (uint32_t)read_number(&reader, 4);
    *text = (const char *)reader.in;
    *text_len = (uint32_t)reader.len;
    return reader.failed || *text_len > TN_AGENT_TEXT_MAX ? -1 : 0;
}
