/* The commands of an agent's link as bytes: each makes its payload and puts it into the link's queue. */
#include "core/lib/cleanup.h"
#include "executors/sdk/agent_link_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int tn_agent_link_spawn(struct tn_agent_link *link, uint32_t channel, const struct tn_agent_spawn *spawn,
                        struct tn_err *err)
{
    size_t len = tn_agent_spawn_put(NULL, 0, spawn);
    auto_free uint8_t *payload = malloc(len);

    if (payload == NULL)
        return tn_err_sys(err, ENOMEM, "a command for the agent");
    tn_agent_spawn_put(payload, len, spawn);
    return tn_agent_link__queue(link, TN_AGENT_SPAWN, channel, payload, len, err);
}

int tn_agent_link_stdin(struct tn_agent_link *link, uint32_t channel, uint64_t offset, const void *bytes, size_t len,
                        struct tn_err *err)
{
    auto_free uint8_t *payload = malloc(8 + len);

    if (len > TN_AGENT_STDIN_MAX)
        return tn_err_set(err, TN_ERR_LIMIT, "%zu bytes of stdin in one command: at most %u", len, TN_AGENT_STDIN_MAX);
    if (payload == NULL)
        return tn_err_sys(err, ENOMEM, "a command for the agent");
    tn_agent_u64_put(payload, 8, offset);
    if (len > 0)
        memcpy(payload + 8, bytes, len);
    return tn_agent_link__queue(link, TN_AGENT_STDIN, channel, payload, 8 + len, err);
}

int tn_agent_link_stdin_eof(struct tn_agent_link *link, uint32_t channel, uint64_t total, struct tn_err *err)
{
    uint8_t payload[8];

    tn_agent_u64_put(payload, sizeof(payload), total);
    return tn_agent_link__queue(link, TN_AGENT_STDIN_EOF, channel, payload, sizeof(payload), err);
}

int tn_agent_link_signal(struct tn_agent_link *link, uint32_t channel, int sig, enum tn_agent_scope scope,
                         struct tn_err *err)
{
    uint8_t payload[8];

    tn_agent_pair_put(payload, sizeof(payload), (uint32_t)sig, (uint32_t)scope);
    return tn_agent_link__queue(link, TN_AGENT_SIGNAL, channel, payload, sizeof(payload), err);
}

static int queue_tree(struct tn_agent_link *link, enum tn_agent_packet_type type, uint32_t channel,
                      const struct tn_agent_tree *tree, struct tn_err *err)
{
    size_t len = tn_agent_tree_put(NULL, 0, tree);
    auto_free uint8_t *payload = malloc(len);

    if (tree->path[0] == '\0')
        return tn_err_set(err, TN_ERR_USAGE, "%s without a path", tn_agent_packet_name(type));
    if (payload == NULL)
        return tn_err_sys(err, ENOMEM, "a command for the agent");
    tn_agent_tree_put(payload, len, tree);
    return tn_agent_link__queue(link, type, channel, payload, len, err);
}

int tn_agent_link_tree_put(struct tn_agent_link *link, uint32_t channel, const char *path, struct tn_err *err)
{
    return queue_tree(link, TN_AGENT_TREE_PUT, channel, &(struct tn_agent_tree){.path = path}, err);
}

int tn_agent_link_tree_get(struct tn_agent_link *link, uint32_t channel, const char *base, const char *const *paths,
                           uint32_t flags, struct tn_err *err)
{
    struct tn_agent_tree tree = {.flags = flags, .path = base, .paths = (const char **)paths};

    while (paths[tree.count] != NULL)
        tree.count++;
    return queue_tree(link, TN_AGENT_TREE_GET, channel, &tree, err);
}

int tn_agent_link_file_get(struct tn_agent_link *link, uint32_t channel, const char *path, uint64_t max,
                           struct tn_err *err)
{
    return queue_tree(link, TN_AGENT_FILE_GET, channel, &(struct tn_agent_tree){.path = path, .max = max}, err);
}
