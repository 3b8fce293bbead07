/* For targets that take messages: a transport whose other end is the input, and the input's lines as messages:
 *
 *     KIND SOURCE TASK ATTEMPT BODY     a message: the kind by its name, the rest numbers, the body up to the line's
 * end > KIND BODY                       an answer to the oldest request that was sent and has none
 *
 * The body of STREAM_WRITE is written as STREAM OFFSET BYTES. */
#ifndef TN_FUZZ_WIRE_H
#define TN_FUZZ_WIRE_H

#include "core/peer/peer.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { WIRE_ROOM = 64 };

static struct wire {
    uint8_t *in; /* owned: the one message that is there to be received */
    size_t in_size;
    struct tn_header asked[WIRE_ROOM]; /* requests that were sent */
    size_t first, count;
    int receive_fd, send_fd;
} wire = {.receive_fd = -1, .send_fd = -1};

struct tn_endpoint {
    int unused;
};

static struct tn_endpoint *wire_open(const char *url, enum tn_endpoint_mode mode, struct tn_err *err)
{
    if (wire.receive_fd < 0)
        wire.receive_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (wire.send_fd < 0)
        wire.send_fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
    return calloc(1, sizeof(struct tn_endpoint));
}

static void wire_close(struct tn_endpoint *endpoint)
{
    free(endpoint);
}

static int wire_receive_fd(struct tn_endpoint *endpoint)
{
    return wire.receive_fd;
}

static int wire_send_fd(struct tn_endpoint *endpoint)
{
    return wire.send_fd;
}

static void wire_limit(struct tn_endpoint *endpoint, size_t size)
{
}

static unsigned long wire_losses(struct tn_endpoint *endpoint)
{
    return 0;
}

static int wire_send(struct tn_endpoint *endpoint, void *message, struct tn_err *err)
{
    const uint8_t *bytes = message;
    struct tn_header header;
    uint32_t length;

    memcpy(&length, bytes + TN_HEADER_SIZE - sizeof(length), sizeof(length));
    /* What we send must be fit to be sent. */
    if (tn_header_decode(bytes, TN_HEADER_SIZE + (size_t)length, &header, NULL) != 0)
        abort();
    if (header.in_reply_to == 0 && tn_msg_info(header.kind)->reply != TN_MSG_NONE &&
        wire.count - wire.first < WIRE_ROOM)
        wire.asked[wire.count++ % WIRE_ROOM] = header;
    free(message);
    return 1;
}

static int wire_receive(struct tn_endpoint *endpoint, void **message, size_t *size, struct tn_err *err)
{
    eventfd_t value;

    if (wire.in == NULL) {
        (void)!eventfd_read(wire.receive_fd, &value);
        return 0;
    }
    *message = wire.in;
    *size = wire.in_size;
    wire.in = NULL;
    return 1;
}

static const struct tn_transport wire_transport = {.name = "wire",
                                                   .open = wire_open,
                                                   .close = wire_close,
                                                   .receive_fd = wire_receive_fd,
                                                   .send_fd = wire_send_fd,
                                                   .limit = wire_limit,
                                                   .losses = wire_losses,
                                                   .allocate = malloc,
                                                   .release = free,
                                                   .send = wire_send,
                                                   .receive = wire_receive};

static void wire_deliver(struct event_base *base, const struct tn_header *header, const void *body)
{
    wire.in = malloc(TN_HEADER_SIZE + (size_t)header->length);
    if (wire.in == NULL)
        abort();
    tn_header_encode(header, wire.in);
    if (header->length > 0)
        memcpy(wire.in + TN_HEADER_SIZE, body, header->length);
    wire.in_size = TN_HEADER_SIZE + (size_t)header->length;
    if (eventfd_write(wire.receive_fd, 1) != 0)
        abort();
    event_base_loop(base, EVLOOP_NONBLOCK);
    event_base_loop(base, EVLOOP_NONBLOCK);
    free(wire.in);
    wire.in = NULL;
}

static const struct tn_msg_info *wire_kind(const char *name)
{
    size_t count;
    const struct tn_msg_info *list = tn_msg_list(&count);

    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i].name, name) == 0)
            return &list[i];
    return NULL;
}

/* The next word of `*rest`, or "". */
static char *wire_word(char **rest)
{
    char *word = *rest != NULL ? strsep(rest, " ") : NULL;

    return word != NULL ? word : (char *)(uintptr_t) "";
}

/* "STREAM OFFSET BYTES" as the wire has it; the caller frees it. */
static char *wire_chunk(char *rest, uint32_t *length)
{
    struct tn_chunk chunk = {.stream = (uint32_t)strtoul(wire_word(&rest), NULL, 10)};
    char *out;

    chunk.offset = strtoull(wire_word(&rest), NULL, 10);
    *length = (uint32_t)(TN_CHUNK_SIZE + (rest != NULL ? strlen(rest) : 0));
    out = malloc(*length + 1);
    if (out == NULL)
        abort();
    tn_chunk_encode(&chunk, (uint8_t *)out);
    memcpy(out + TN_CHUNK_SIZE, rest != NULL ? rest : "", *length - TN_CHUNK_SIZE);
    return out;
}

/* One line as a message to `self`; the bus lets nothing else through than what the list allows. */
static void wire_line(struct event_base *base, char *line, uint16_t self, enum tn_msg_channel channel)
{
    static uint64_t sequence;
    bool answers = line[0] == '>';
    struct tn_header header = {.destination = self, .sequence = 1ull << 32 | ++sequence};
    char *rest = line + (answers ? 1 + (line[1] == ' ') : 0);
    char *chunk = NULL;
    const struct tn_msg_info *info = wire_kind(wire_word(&rest));

    if (info == NULL || (answers && wire.first == wire.count))
        return;
    header.kind = (uint16_t)info->kind;
    if (answers) {
        const struct tn_header *asked = &wire.asked[wire.first++ % WIRE_ROOM];

        header.source = asked->destination;
        header.in_reply_to = asked->sequence;
        header.task = asked->task;
        header.attempt = asked->attempt;
    } else {
        header.source = (uint16_t)strtoul(wire_word(&rest), NULL, 10);
        header.task = strtoull(wire_word(&rest), NULL, 10);
        header.attempt = (uint32_t)strtoul(wire_word(&rest), NULL, 10);
    }
    if (info->kind == TN_MSG_STREAM_WRITE)
        chunk = wire_chunk(rest, &header.length);
    else
        header.length = rest != NULL ? (uint32_t)strlen(rest) : 0;
    if (header.length <= info->max_body && tn_header_permit(&header, channel, NULL) == 0)
        wire_deliver(base, &header, chunk != NULL ? chunk : rest);
    free(chunk);
}

/* All lines. */
static void wire_run(struct event_base *base, const uint8_t *data, size_t size, uint16_t self,
                     enum tn_msg_channel channel)
{
    char *text = strndup((const char *)data, size);
    char *rest = text;
    char *line;

    wire.first = wire.count = 0;
    while ((line = strsep(&rest, "\n")) != NULL)
        wire_line(base, line, self, channel);
    free(text);
}

#endif
