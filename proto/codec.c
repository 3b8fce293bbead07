#include "proto/codec.h"

#include <stdio.h>
#include <string.h>

static const uint8_t magic[4] = {'T', 'N', 'N', '1'};
enum { VERSION = 1 };

static const struct tn_msg_info messages[] = {
#define ROW(name_, value, channel_, senders_, receivers_, max_body_, reply_, meaning_)                                 \
    {TN_MSG_##name_, #name_, TN_CHANNEL_##channel_, senders_, receivers_, max_body_, TN_MSG_##reply_, meaning_},
    TN_MESSAGES(ROW)
#undef ROW
};

static const char *const role_names[TN_ROLE_COUNT] = {
#define ROW(name, value, text) [value] = text,
    TN_ROLES(ROW)
#undef ROW
};

static void put16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

static void put32(uint8_t *at, uint32_t value)
{
    put16(at, (uint16_t)value);
    put16(at + 2, (uint16_t)(value >> 16));
}

static void put64(uint8_t *at, uint64_t value)
{
    put32(at, (uint32_t)value);
    put32(at + 4, (uint32_t)(value >> 32));
}

static uint16_t get16(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

static uint32_t get32(const uint8_t *at)
{
    return (uint32_t)get16(at) | (uint32_t)get16(at + 2) << 16;
}

static uint64_t get64(const uint8_t *at)
{
    return (uint64_t)get32(at) | (uint64_t)get32(at + 4) << 32;
}

const struct tn_msg_info *tn_msg_info(unsigned kind)
{
    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++)
        if ((unsigned)messages[i].kind == kind)
            return &messages[i];
    return NULL;
}

const struct tn_msg_info *tn_msg_list(size_t *count)
{
    *count = sizeof(messages) / sizeof(messages[0]);
    return messages;
}

const char *tn_msg_name(unsigned kind)
{
    const struct tn_msg_info *info = tn_msg_info(kind);

    return info != NULL ? info->name : "?";
}

const char *tn_role_name(enum tn_role role)
{
    return (unsigned)role < TN_ROLE_COUNT && role_names[role] != NULL ? role_names[role] : "?";
}

const char *tn_address_name(uint16_t address, char *out, size_t size)
{
    enum tn_role role = TN_ADDRESS_ROLE(address);

    if (role == TN_ROLE_EXECUTOR || role == TN_ROLE_CLIENT)
        snprintf(out, size, "%s.%u", tn_role_name(role), TN_ADDRESS_INDEX(address));
    else
        snprintf(out, size, "%s", tn_role_name(role));
    return out;
}

void tn_header_encode(const struct tn_header *header, uint8_t out[TN_HEADER_SIZE])
{
    memcpy(out, magic, sizeof(magic));
    put16(out + 4, VERSION);
    put16(out + 6, header->kind);
    put16(out + 8, header->source);
    put16(out + 10, header->destination);
    put32(out + 12, header->flags);
    put64(out + 16, header->sequence);
    put64(out + 24, header->in_reply_to);
    put64(out + 32, header->task);
    put32(out + 40, header->attempt);
    put32(out + 44, header->length);
}

int tn_header_decode(const uint8_t *message, size_t size, struct tn_header *header, struct tn_err *err)
{
    const struct tn_msg_info *info;

    if (size < TN_HEADER_SIZE)
        return tn_err_set(err, TN_ERR_PROTOCOL, "a message of %zu bytes is shorter than its header of %u", size,
                          TN_HEADER_SIZE);
    if (memcmp(message, magic, sizeof(magic)) != 0)
        return tn_err_set(err, TN_ERR_PROTOCOL, "a message does not begin with TNN1");
    if (get16(message + 4) != VERSION)
        return tn_err_set(err, TN_ERR_PROTOCOL, "a message has version %u, this program speaks %u",
                          (unsigned)get16(message + 4), (unsigned)VERSION);
    header->kind = get16(message + 6);
    header->source = get16(message + 8);
    header->destination = get16(message + 10);
    header->flags = get32(message + 12);
    header->sequence = get64(message + 16);
    header->in_reply_to = get64(message + 24);
    header->task = get64(message + 32);
    header->attempt = get32(message + 40);
    header->length = get32(message + 44);
    info = tn_msg_info(header->kind);
    if (info == NULL)
        return tn_err_set(err, TN_ERR_PROTOCOL, "message kind %u is unknown", (unsigned)header->kind);
    if (header->length != size - TN_HEADER_SIZE)
        return tn_err_set(err, TN_ERR_PROTOCOL, "%s says %u bytes of body, %zu follow", info->name, header->length,
                          size - TN_HEADER_SIZE);
    if (header->length > info->max_body)
        return tn_err_set(err, TN_ERR_LIMIT, "%s has a body of %u bytes, at most %u are allowed", info->name,
                          header->length, info->max_body);
    return 0;
}

int tn_header_permit(const struct tn_header *header, enum tn_msg_channel channel, struct tn_err *err)
{
    const struct tn_msg_info *info = tn_msg_info(header->kind);
    enum tn_role from = TN_ADDRESS_ROLE(header->source);
    enum tn_role to = TN_ADDRESS_ROLE(header->destination);
    bool answer = header->kind == TN_MSG_ACK || header->kind == TN_MSG_REFUSED;

    if (info == NULL)
        return tn_err_set(err, TN_ERR_PROTOCOL, "message kind %u is unknown", (unsigned)header->kind);
    /* Events enter at their sender's bus socket and leave on the published one. */
    if (info->channel != channel && !(answer && channel == TN_CHANNEL_DATA) &&
        !(info->channel == TN_CHANNEL_EVENT && channel == TN_CHANNEL_BUS))
        return tn_err_set(err, TN_ERR_PROTOCOL, "%s does not belong on this channel", info->name);
    if (from >= TN_ROLE_COUNT || (info->senders & 1u << from) == 0)
        return tn_err_set(err, TN_ERR_PROTOCOL, "%s may not be sent by %s", info->name, tn_role_name(from));
    if (to >= TN_ROLE_COUNT || (info->receivers & 1u << to) == 0)
        return tn_err_set(err, TN_ERR_PROTOCOL, "%s may not be sent to %s", info->name, tn_role_name(to));
    return 0;
}

void tn_chunk_encode(const struct tn_chunk *chunk, uint8_t out[TN_CHUNK_SIZE])
{
    put32(out, chunk->stream);
    put32(out + 4, chunk->flags);
    put64(out + 8, chunk->offset);
}

int tn_chunk_decode(const uint8_t *body, size_t size, struct tn_chunk *chunk, struct tn_err *err)
{
    if (size < TN_CHUNK_SIZE)
        return tn_err_set(err, TN_ERR_PROTOCOL, "a chunk of %zu bytes is shorter than its prefix of %u", size,
                          TN_CHUNK_SIZE);
    chunk->stream = get32(body);
    chunk->flags = get32(body + 4);
    chunk->offset = get64(body + 8);
    return 0;
}
