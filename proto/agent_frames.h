/* The bytes between an executor and the agent of an environment: packets on the connection, frames in the stream.
 *
 * AGENT.md describes the protocol and holds golden vectors. This codec is shared by the agent (static, musl) and the
 * executors' library, so it needs nothing but the C library and allocates nothing. All numbers are little-endian.
 *
 * Two layers. A *packet* is what the connection carries, in both directions: a 32-byte header with its own CRC, then
 * the payload. The payloads of the agent's DATA packets, put together, are the *stream*: one reliable sequence of
 * bytes with a 64-bit offset, made of *frames* (12-byte header, payload).
 *
 * Decoders take foreign bytes: they check every length before they use it and return -1 for what is malformed. */
#ifndef TN_PROTO_AGENT_FRAMES_H
#define TN_PROTO_AGENT_FRAMES_H

#include <stddef.h>
#include <stdint.h>

#define TN_AGENT_VERSION 1u
#define TN_AGENT_MAGIC 0x31414e54u /* "TNA1" on the wire */
#define TN_AGENT_PACKET_HEADER 32u
#define TN_AGENT_FRAME_HEADER 12u
#define TN_AGENT_NONCE 16u
#define TN_AGENT_BOOT 16u
#define TN_AGENT_COMMAND_MAX (1024u * 1024u) /* payload of a packet to the agent, in bytes */
#define TN_AGENT_PACKET_MAX (256u * 1024u)   /* payload of a packet from the agent */
#define TN_AGENT_FRAME_MAX (128u * 1024u)    /* payload of a frame */
#define TN_AGENT_STDIN_MAX (64u * 1024u)     /* bytes in one STDIN packet */
#define TN_AGENT_WINDOW (256u * 1024u)       /* stdin bytes that a channel takes before it applied any */
#define TN_AGENT_CHANNELS_MAX 256u           /* channels that live at the same time */
#define TN_AGENT_WORDS_MAX 65536u            /* arguments, or environment entries, or paths of one command */
#define TN_AGENT_TEXT_MAX 2048u              /* bytes of text in EXIT, WARN and ERROR */

/* name, number, smallest and largest payload, reliable (numbered, re-sent until a DONE covers it) */
#define TN_AGENT_PACKETS(X)                                                                                            \
    /* executor to agent */                                                                                            \
    X(HELLO, 1, 60, 60, 0)                                                                                             \
    X(ACK, 2, 0, 0, 0)                                                                                                 \
    X(SPAWN, 3, 24, TN_AGENT_COMMAND_MAX, 1)                                                                           \
    X(STDIN, 4, 8, 8 + TN_AGENT_STDIN_MAX, 1)                                                                          \
    X(STDIN_EOF, 5, 8, 8, 1)                                                                                           \
    X(SIGNAL, 6, 8, 8, 1)                                                                                              \
    X(TREE_PUT, 7, 14, TN_AGENT_COMMAND_MAX, 1)                                                                        \
    X(TREE_GET, 8, 18, TN_AGENT_COMMAND_MAX, 1)                                                                        \
    X(FILE_GET, 9, 18, TN_AGENT_COMMAND_MAX, 1)                                                                        \
    X(SHUTDOWN, 10, 0, 0, 1)                                                                                           \
    /* agent to executor */                                                                                            \
    X(WELCOME, 65, 72, TN_AGENT_PACKET_MAX, 0)                                                                         \
    X(DATA, 66, 1, TN_AGENT_PACKET_MAX, 0)                                                                             \
    X(DONE, 67, 0, 0, 0)                                                                                               \
    X(REPLACED, 68, 0, 0, 0)

enum tn_agent_packet_type {
#define X(name, number, min, max, reliable) TN_AGENT_##name = number,
    TN_AGENT_PACKETS(X)
#undef X
};

/* name, number: the frames of the stream */
#define TN_AGENT_FRAMES(X)                                                                                             \
    X(OUT, 1)                                                                                                          \
    X(SPAWNED, 2)                                                                                                      \
    X(EXIT, 3)                                                                                                         \
    X(WINDOW, 4)                                                                                                       \
    X(WARN, 5)                                                                                                         \
    X(ERROR, 6)

enum tn_agent_frame_type {
#define X(name, number) TN_AGENT_FRAME_##name = number,
    TN_AGENT_FRAMES(X)
#undef X
};

enum tn_agent_result {                        /* of a handshake, in WELCOME */
                       TN_AGENT_OK = 0,       /* the stream goes on at the offset that was asked for */
                       TN_AGENT_GAP = 1,      /* that offset was acknowledged long ago: its bytes are gone */
                       TN_AGENT_BEYOND = 2,   /* that offset does not exist yet: the executor's memory is wrong */
                       TN_AGENT_OTHER = 3,    /* the boot id differs: this is another environment */
                       TN_AGENT_VERSIONS = 4, /* the agent does not speak the executor's version */
};

enum tn_agent_spawn_flag {
    TN_AGENT_STDIN_OPEN = 1,   /* else stdin is /dev/null */
    TN_AGENT_STDERR_APART = 2, /* stderr goes to the agent's own log instead of into the channel */
    TN_AGENT_ENV_ADD = 4,      /* the environment is added to the agent's own (an image's ENV), else it replaces it */
};

enum tn_agent_tree_flag {
    TN_AGENT_GLOB = 1, /* the paths of TREE_GET are patterns: * ** ? [..] {a,b} */
};

enum tn_agent_scope {
    TN_AGENT_GROUP = 0, /* the channel's process group */
    TN_AGENT_TREE = 1,  /* whatever descends from the channel, other sessions included */
};

enum tn_agent_exit_kind {
    TN_AGENT_EXITED = 0,   /* `code` is the exit status */
    TN_AGENT_SIGNALED = 1, /* `code` is the signal's number */
    TN_AGENT_NO_SPAWN = 2, /* nothing ran; `code` is an errno value or 0, `text` says why */
};

enum tn_agent_exit_flag {
    TN_AGENT_HALTED = 1,    /* the step asked to halt the job */
    TN_AGENT_PIPE_HELD = 2, /* a process left behind still holds the output pipe; what it writes is dropped */
    TN_AGENT_MISSING = 4,   /* TREE_GET: at least one path matched nothing */
    TN_AGENT_ENDING = 8, /* the agent itself was told to end (SIGTERM): the environment goes away under the command */
    TN_AGENT_OOM = 16,   /* it did not end well, and meanwhile the kernel killed a process of the environment for memory */
};

enum tn_agent_warning {
    TN_AGENT_WARN_TEXT = 0,    /* for people */
    TN_AGENT_WARN_MISSING = 1, /* the text is a path or pattern of TREE_GET that matched nothing */
};

struct tn_agent_packet {
    uint16_t type;
    uint32_t channel;
    uint32_t length;      /* of the payload */
    uint64_t number;      /* reliable: sequence; ACK, DATA: stream offset; DONE: sequence up to which all is applied */
    uint32_t payload_crc; /* 0 in DATA, whose bytes the stream's offsets protect */
};

struct tn_agent_frame {
    uint8_t type;
    uint32_t channel;
    uint32_t length;
};

struct tn_agent_hello {
    uint32_t version;
    uint8_t nonce[TN_AGENT_NONCE];
    uint8_t boot[TN_AGENT_BOOT]; /* all zero: none known yet */
    uint64_t life;               /* random, one per life of the executor's link: sequences belong to it */
    uint64_t acked;              /* last sequence of this life that a DONE covered */
    uint64_t offset;             /* stream bytes received and safe */
};

struct tn_agent_welcome {
    uint32_t version;
    uint32_t result; /* enum tn_agent_result */
    uint8_t nonce[TN_AGENT_NONCE];
    uint8_t boot[TN_AGENT_BOOT];
    uint64_t start;    /* offset of the first stream byte that follows */
    uint64_t head;     /* offset behind the last byte written so far */
    uint64_t applied;  /* last sequence of this life that was applied */
    const char *facts; /* borrowed from the payload: "key=value\n" lines, NUL-terminated */
    uint32_t facts_len;
};

/* SPAWN. The strings are borrowed: from the payload when decoded. The vectors end with NULL. */
struct tn_agent_spawn {
    uint32_t flags;
    const char *cwd;  /* "" leaves the agent's own */
    const char *user; /* name, uid or uid:gid; "" leaves the agent's own */
    uint32_t argc;
    uint32_t envc;
    const char **argv;
    const char **envp;
};

/* TREE_PUT (no paths), TREE_GET, FILE_GET (no paths, `max`). */
struct tn_agent_tree {
    uint32_t flags;
    uint64_t max; /* FILE_GET: bytes; TREE_*: 0 */
    const char *path;
    uint32_t count;
    const char **paths;
};

struct tn_agent_exit {
    uint8_t kind;
    uint8_t flags;
    uint32_t code;
    const char *text; /* borrowed, not NUL-terminated */
    uint32_t text_len;
};

struct tn_agent_window {
    uint64_t applied; /* stdin bytes that the channel has taken for good */
    uint64_t limit;   /* stdin bytes may be sent up to this offset */
};

/* CRC-32 (IEEE 802.3, as in zlib): crc of "123456789" is 0xcbf43926. Start with 0. */
uint32_t tn_agent_crc32(uint32_t crc, const void *bytes, size_t len);

/* Name of a packet type, or "?" */
const char *tn_agent_packet_name(unsigned type);
/* 1 if packets of this type carry a sequence and are re-sent until a DONE covers them. */
int tn_agent_packet_reliable(unsigned type);

/* Writes the header. `payload` (may be NULL for DATA, whose bytes are not summed) has packet->length bytes;
 * packet->payload_crc is ignored. */
void tn_agent_packet_put(uint8_t out[TN_AGENT_PACKET_HEADER], const struct tn_agent_packet *packet,
                         const void *payload);
/* Reads a header. -1 if magic, CRC, type or length are wrong; then nothing that it says may be believed. */
int tn_agent_packet_get(const uint8_t in[TN_AGENT_PACKET_HEADER], struct tn_agent_packet *packet);
/* 0 if the payload is the one that the header was written for. */
int tn_agent_packet_verify(const struct tn_agent_packet *packet, const void *payload);

/* Writes a frame's header. */
void tn_agent_frame_put(uint8_t out[TN_AGENT_FRAME_HEADER], const struct tn_agent_frame *frame);
/* -1 if the type is unknown or the length over TN_AGENT_FRAME_MAX. */
int tn_agent_frame_get(const uint8_t in[TN_AGENT_FRAME_HEADER], struct tn_agent_frame *frame);

/* Payload encoders: write at most `size` bytes to `out` (NULL with 0 to measure) and return how many the payload has.
 * If the answer is larger than `size` nothing usable was written. */
size_t tn_agent_hello_put(uint8_t *out, size_t size, const struct tn_agent_hello *hello);
size_t tn_agent_welcome_put(uint8_t *out, size_t size, const struct tn_agent_welcome *welcome);
size_t tn_agent_spawn_put(uint8_t *out, size_t size, const struct tn_agent_spawn *spawn);
size_t tn_agent_tree_put(uint8_t *out, size_t size, const struct tn_agent_tree *tree);
size_t tn_agent_pair_put(uint8_t *out, size_t size, uint32_t first, uint32_t second); /* SIGNAL: number, scope */
size_t tn_agent_u64_put(uint8_t *out, size_t size, uint64_t value);                   /* STDIN*: offset */
size_t tn_agent_exit_put(uint8_t *out, size_t size, const struct tn_agent_exit *end);
size_t tn_agent_window_put(uint8_t *out, size_t size, const struct tn_agent_window *window);
/* WARN and ERROR: a code and text. SPAWNED: the pid, no text. */
size_t tn_agent_note_put(uint8_t *out, size_t size, uint32_t code, const char *text, uint32_t text_len);

/* Payload decoders: 0, or -1 if malformed. */
int tn_agent_hello_get(const uint8_t *in, size_t len, struct tn_agent_hello *hello);
int tn_agent_welcome_get(const uint8_t *in, size_t len, struct tn_agent_welcome *welcome);
/* How many words (argv, environment, paths) the payload announces, bounded by its own length; -1 if malformed. The
 * decoders below need a vector of two more places than that. */
long tn_agent_words(unsigned type, const uint8_t *in, size_t len);
int tn_agent_spawn_get(const uint8_t *in, size_t len, struct tn_agent_spawn *spawn, const char **vector);
int tn_agent_tree_get(const uint8_t *in, size_t len, struct tn_agent_tree *tree, const char **vector);
int tn_agent_pair_get(const uint8_t *in, size_t len, uint32_t *first, uint32_t *second);
int tn_agent_u64_get(const uint8_t *in, size_t len, uint64_t *value);
int tn_agent_exit_get(const uint8_t *in, size_t len, struct tn_agent_exit *end);
int tn_agent_window_get(const uint8_t *in, size_t len, struct tn_agent_window *window);
int tn_agent_note_get(const uint8_t *in, size_t len, uint32_t *code, const char **text, uint32_t *text_len);

#endif
