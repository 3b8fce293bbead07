/* Bus messages: a fixed header of 48 bytes, little-endian, then the body.
 *
 *   offset size field
 *        0    4 magic        "TNN1"
 *        4    2 version      1
 *        6    2 kind         enum tn_msg_kind
 *        8    2 source       address: role << 8 | index; the router checks it against the socket
 *       10    2 destination  address
 *       12    4 flags        bit 0: sent again
 *       16    8 sequence     the sender's life << 32 | a counter; names the message
 *       24    8 in_reply_to  sequence of the message that this one answers, or 0
 *       32    8 task         id of the task (one parallel index of a job) that it is about, or 0
 *       40    4 attempt      which attempt of it, from 1, or 0
 *       44    4 length       bytes of body that follow; exactly what is left of the message
 *
 * The life is a number that tenond gives each start of a process, larger than all before; so a restarted process never
 * repeats a sequence, and words of an earlier life are told apart. No function here allocates or blocks. */
#ifndef TN_PROTO_CODEC_H
#define TN_PROTO_CODEC_H

#include "core/lib/err.h"
#include "proto/messages.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TN_HEADER_SIZE 48u
#define TN_MSG_FLAG_RESENT 1u
/* The largest message of all kinds, header included; NN_RCVMAXSIZE of every socket. */
#define TN_MSG_SIZE_MAX (TN_MIB(64) + TN_HEADER_SIZE)

#define TN_ADDRESS(role, index) ((uint16_t)((unsigned)(role) << 8 | (unsigned)(index)))
#define TN_ADDRESS_ROLE(address) ((enum tn_role)((address) >> 8))
#define TN_ADDRESS_INDEX(address) ((unsigned)(address)&0xffu)
#define TN_SEQUENCE_LIFE(sequence) ((uint32_t)((sequence) >> 32))

struct tn_header {
    uint16_t kind;
    uint16_t source;
    uint16_t destination;
    uint32_t flags;
    uint64_t sequence;
    uint64_t in_reply_to;
    uint64_t task;
    uint32_t attempt;
    uint32_t length;
};

/* One row of the list of messages. */
struct tn_msg_info {
    enum tn_msg_kind kind;
    const char *name;
    enum tn_msg_channel channel;
    unsigned senders;   /* set of roles, 1u << role */
    unsigned receivers; /* set of roles */
    uint32_t max_body;  /* bytes */
    enum tn_msg_kind reply;
    const char *meaning;
};

/* The row of a kind, or NULL for a number that is no kind. */
const struct tn_msg_info *tn_msg_info(unsigned kind);
/* The rows in the list's order; `*count` gets their number. */
const struct tn_msg_info *tn_msg_list(size_t *count);
/* "LEASE", or "kind 4711" is "?" for an unknown one. */
const char *tn_msg_name(unsigned kind);
/* "scheduler", "executor.1"; writes at most `size` bytes into `out` and returns it. */
const char *tn_address_name(uint16_t address, char *out, size_t size);
const char *tn_role_name(enum tn_role role);

/* Writes all 48 bytes. */
void tn_header_encode(const struct tn_header *header, uint8_t out[TN_HEADER_SIZE]);

/* Decodes and checks: magic, version, known kind, length equal to what follows and within the kind's bound.
 * `size` is the whole message's. TN_ERR_PROTOCOL names what is wrong. */
int tn_header_decode(const uint8_t *message, size_t size, struct tn_header *header, struct tn_err *err) TN_MUST_CHECK;

/* May a message of this kind go from this role to that one over this channel? TN_ERR_PROTOCOL says what is not allowed.
 */
int tn_header_permit(const struct tn_header *header, enum tn_msg_channel channel, struct tn_err *err) TN_MUST_CHECK;

/* The body of STREAM_WRITE and BLOB_DATA/LOG_DATA begins with this prefix of 16 bytes. */
#define TN_CHUNK_SIZE 16u
#define TN_CHUNK_END                                                                                                   \
    1u /* flag: nothing follows (BLOB_DATA: end of blob; LOG_DATA: the step is over and this is its end) */
struct tn_chunk {
    uint32_t stream; /* STREAM_WRITE: stream id; else 0 */
    uint32_t flags;
    uint64_t offset; /* of the first byte */
};
void tn_chunk_encode(const struct tn_chunk *chunk, uint8_t out[TN_CHUNK_SIZE]);
int tn_chunk_decode(const uint8_t *body, size_t size, struct tn_chunk *chunk, struct tn_err *err) TN_MUST_CHECK;

#endif
