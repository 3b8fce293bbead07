/* libFuzzer target: what the agent and its executors decode. The first byte chooses the decoder.
 *
 * decodes: executors/agent/glob.c executors/agent/subst.c executors/agent/timings.c
 *          executors/agent/tar_format.c executors/agent/words.c proto/agent_frames.c
 * max_len: 8192 */
#include "executors/agent/glob.h"
#include "executors/agent/split.h"
#include "executors/agent/subst.h"
#include "executors/agent/tar.h"
#include "proto/agent_frames.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever is accepted must encode to the same bytes again. */
static void run_words(unsigned type, const uint8_t *data, size_t size)
{
    long words = tn_agent_words(type, data, size);
    const char **vector = words >= 0 ? calloc((size_t)words + 2, sizeof(*vector)) : NULL;
    uint8_t *again = malloc(size + 1);
    struct tn_agent_spawn spawn;
    struct tn_agent_tree tree;
    size_t len = 0;

    if (vector != NULL && type == TN_AGENT_SPAWN && tn_agent_spawn_get(data, size, &spawn, vector) == 0)
        len = tn_agent_spawn_put(again, size, &spawn);
    else if (vector != NULL && type != TN_AGENT_SPAWN && tn_agent_tree_get(data, size, &tree, vector) == 0)
        len = tn_agent_tree_put(again, size, &tree);
    if (len != 0 && (len != size || memcmp(again, data, size) != 0))
        abort();
    free(again);
    free(vector);
}

static void run_packet(const uint8_t *data, size_t size)
{
    struct tn_agent_packet packet;
    struct tn_agent_frame frame;
    struct tn_agent_hello hello;
    struct tn_agent_welcome welcome;
    struct tn_agent_exit end;
    struct tn_agent_window window;
    const char *text;
    uint32_t code;
    uint32_t len;
    uint64_t value;

    if (size >= TN_AGENT_PACKET_HEADER && tn_agent_packet_get(data, &packet) == 0 &&
        packet.length <= size - TN_AGENT_PACKET_HEADER)
        (void)tn_agent_packet_verify(&packet, data + TN_AGENT_PACKET_HEADER);
    if (size >= TN_AGENT_FRAME_HEADER && tn_agent_frame_get(data, &frame) == 0 && frame.length > TN_AGENT_FRAME_MAX)
        abort();
    if (tn_agent_welcome_get(data, size, &welcome) == 0 && strlen(welcome.facts) != welcome.facts_len)
        abort();
    (void)tn_agent_hello_get(data, size, &hello);
    (void)tn_agent_exit_get(data, size, &end);
    (void)tn_agent_window_get(data, size, &window);
    (void)tn_agent_note_get(data, size, &code, &text, &len);
    (void)tn_agent_u64_get(data, size, &value);
}

static void run_tar(const uint8_t *data, size_t size)
{
    struct tn_tar_pax pax = {0};
    struct tn_tar_names names;
    struct tn_tar_entry entry;

    if (size >= TN_TAR_BLOCK && tn_tar_header_get(data, &names, &entry) == 0 &&
        (strlen(entry.name) > 256 || strlen(entry.link) > 100))
        abort();
    if (tn_tar_pax_get((const char *)data, size, &pax) == 0 && (pax.mtime_ns < 0 || pax.mtime_ns > 999999999))
        abort();
    tn_tar_pax_free(&pax);
}

static void run_text(uint8_t kind, char *text, size_t size)
{
    struct tn_split_item items[] = {{"a", 0, 0, "a"}, {"b", 0, 0, "b"}};
    enum tn_timing_type type = TN_TIMING_AUTO;
    struct tn_words words = {NULL, 0, 0};
    struct tn_buf out = TN_BUF_INIT;
    char *rest = memchr(text, '\n', size);

    if (kind == 0 && tn_subst(text, size, &out, NULL) != 0)
        tn_buf_reset(&out);
    if (kind == 1 && size < 200 && tn_glob_expand(text, &words, NULL) != 0)
        tn_words_sort(&words);
    if (kind == 2 && rest != NULL && size < 100) {
        *rest = '\0';
        tn_glob_match(text, rest + 1);
    }
    if (kind == 3 && tn_split_timings(text, "/x", &type, items, 2) > 2)
        abort();
    tn_words_free(&words);
    tn_buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text;

    if (size == 0)
        return 0;
    text = strndup((const char *)data + 1, size - 1);
    switch (data[0] % 8) {
    case 0:
        run_words(TN_AGENT_SPAWN, data + 1, size - 1);
        break;
    case 1:
        run_words(TN_AGENT_TREE_GET, data + 1, size - 1);
        break;
    case 2:
        run_packet(data + 1, size - 1);
        break;
    case 3:
        run_tar(data + 1, size - 1);
        break;
    default:
        run_text(data[0] % 4, text, strlen(text));
        break;
    }
    free(text);
    return 0;
}
