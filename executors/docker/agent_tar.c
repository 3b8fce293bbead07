#include "executors/docker/agent_tar.h"

#include "executors/docker/container_spec.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { BLOCK = 512, SUM_AT = 148, SUM_LEN = 8 };

/* Octal, to the field's end but for one byte. */
static void put(char *field, size_t size, size_t value)
{
    for (size_t at = size - 1; at-- > 0; value >>= 3)
        field[at] = (char)('0' + (value & 7));
}

/* `path` as the container knows it; `link`: what a symbolic link points to. */
static void add_header(struct tn_buf *tar, const char *path, unsigned mode, size_t size, char type, const char *link)
{
    char header[BLOCK] = {0};
    unsigned sum = 0;

    snprintf(header, 100, "%s%s", path + 1, type == '5' ? "/" : "");
    put(header + 100, 8, mode);
    put(header + 108, 8, 0);
    put(header + 116, 8, 0);
    put(header + 124, 12, size);
    put(header + 136, 12, 0);
    memset(header + SUM_AT, ' ', SUM_LEN);
    header[156] = type;
    snprintf(header + 157, 100, "%s", link);
    memcpy(header + 257, "ustar\00000", 8); /* NOLINT(bugprone-not-null-terminated-result): the format wants none */
    for (size_t i = 0; i < BLOCK; i++)
        sum += (uint8_t)header[i];
    put(header + SUM_AT, SUM_LEN - 1, sum);
    tn_buf_add(tar, header, BLOCK);
}

void tn_agent_tar(struct tn_buf *tar, const void *agent, size_t len)
{
    static const char zeros[2 * BLOCK];

    add_header(tar, "/.tenon", 0755, 0, '5', "");
    add_header(tar, TN_CONTAINER_BIN, 0755, 0, '5', "");
    add_header(tar, TN_CONTAINER_AGENT, 0755, len, '0', "");
    tn_buf_add(tar, agent, len);
    tn_buf_add(tar, zeros, (BLOCK - len % BLOCK) % BLOCK);
    add_header(tar, TN_CONTAINER_BIN "/circleci", 0777, 0, '2', "tenon-agent");
    add_header(tar, TN_CONTAINER_BIN "/circleci-agent", 0777, 0, '2', "tenon-agent");
    add_header(tar, TN_CONTAINER_RUN, 0777, 0, '5', "");
    add_header(tar, TN_CONTAINER_RUN "/bin", 0777, 0, '5', "");
    tn_buf_add(tar, zeros, sizeof(zeros));
}
