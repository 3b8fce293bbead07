#include "executors/agent/tar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The header block: POSIX 1003.1, pax, "ustar Interchange Format". */
struct ustar {
    char name[100];
    char mode[8];
    char uid[8];
    char gid[8];
    char size[12];
    char mtime[12];
    char checksum[8];
    char type;
    char link[100];
    char magic[6];
    char version[2];
    char user[32];
    char group[32];
    char major[8];
    char minor[8];
    char prefix[155];
    char rest[12];
};

#define OCTAL_MAX 077777777777ull /* eleven digits */

_Static_assert(sizeof(struct ustar) == TN_TAR_BLOCK, "a header is one block");

static unsigned checksum(const struct ustar *header)
{
    const uint8_t *bytes = (const uint8_t *)header;
    unsigned sum = 8 * ' ';

    for (size_t i = 0; i < sizeof(*header); i++)
        if (i < offsetof(struct ustar, checksum) || i >= offsetof(struct ustar, type))
            sum += bytes[i];
    return sum;
}

static void put_octal(char *field, size_t size, uint64_t value)
{
    field[size - 1] = '\0';
    for (size_t at = size - 1; at-- > 0; value >>= 3)
        field[at] = (char)('0' + (value & 7));
}

/* Octal digits between blanks, or GNU's base 256 (first bit set). */
static int get_number(const char *field, size_t size, uint64_t *value)
{
    size_t at = 0;

    *value = 0;
    if (((uint8_t)field[0] & 0x80) != 0) {
        if ((uint8_t)field[0] != 0x80)
            return -1; /* negative, or absurdly large */
        for (at = 1; at < size; at++) {
            if (*value >> 55 != 0)
                return -1;
            *value = *value << 8 | (uint8_t)field[at];
        }
        return 0;
    }
    while (at < size && field[at] == ' ')
        at++;
    for (; at < size && field[at] >= '0' && field[at] <= '7'; at++)
        *value = *value << 3 | (uint64_t)(field[at] - '0');
    return at == size || field[at] == ' ' || field[at] == '\0' ? 0 : -1;
}

/* Splits at a '/' so that both halves fit; -1 if the name needs a pax record. */
static int put_name(struct ustar *header, const char *name)
{
    size_t len = strlen(name);

    if (len <= sizeof(header->name)) {
        memcpy(header->name, name, len);
        return 0;
    }
    for (size_t at = len < sizeof(header->prefix) ? len - 2 : sizeof(header->prefix); at > 0; at--) {
        if (name[at] != '/' || len - at - 1 > sizeof(header->name) || at + 1 == len)
            continue;
        memcpy(header->prefix, name, at);
        memcpy(header->name, name + at + 1, len - at - 1);
        return 0;
    }
    memcpy(header->name, name, sizeof(header->name));
    return -1;
}

/* "LEN KEY=VALUE\n", where LEN counts its own digits too. */
static void add_record(struct tn_buf *out, const char *key, const char *value)
{
    size_t rest = strlen(key) + strlen(value) + 3;
    size_t len = rest + 1;
    char digits[24];

    while (len != rest + (size_t)snprintf(digits, sizeof(digits), "%zu", len))
        len = rest + strlen(digits);
    tn_buf_addf(out, "%s %s=%s\n", digits, key, value);
}

/* Zeros behind `len` bytes up to a whole block. What the buffer holds says nothing about where the archive's blocks
 * begin: it may have been flushed in the middle of one. */
static void pad_block(struct tn_buf *out, size_t len)
{
    static const char zeros[TN_TAR_BLOCK];

    if (len % TN_TAR_BLOCK != 0)
        tn_buf_add(out, zeros, TN_TAR_BLOCK - len % TN_TAR_BLOCK);
}

static void finish(struct ustar *header, uint32_t mode, uint64_t size, int64_t mtime, char type)
{
    put_octal(header->mode, sizeof(header->mode), mode & 07777);
    put_octal(header->uid, sizeof(header->uid), 0);
    put_octal(header->gid, sizeof(header->gid), 0);
    put_octal(header->size, sizeof(header->size), size <= OCTAL_MAX ? size : 0);
    put_octal(header->mtime, sizeof(header->mtime), mtime >= 0 && (uint64_t)mtime <= OCTAL_MAX ? (uint64_t)mtime : 0);
    header->type = type;
    memcpy(header->magic, "ustar", 6);
    memcpy(header->version, "00", 2);
    put_octal(header->checksum, 7, checksum(header));
    header->checksum[7] = ' ';
}

void tn_tar_header_put(struct tn_buf *out, const struct tn_tar_entry *entry)
{
    struct ustar header = {0};
    auto_buf struct tn_buf pax = TN_BUF_INIT;
    char text[64];
    size_t link_len = strlen(entry->link);

    if (put_name(&header, entry->name) != 0)
        add_record(&pax, "path", entry->name);
    memcpy(header.link, entry->link, link_len < sizeof(header.link) ? link_len : sizeof(header.link));
    if (link_len > sizeof(header.link))
        add_record(&pax, "linkpath", entry->link);
    if (entry->size > OCTAL_MAX) {
        snprintf(text, sizeof(text), "%llu", (unsigned long long)entry->size);
        add_record(&pax, "size", text);
    }
    if (entry->mtime_ns != 0 || entry->mtime < 0) {
        snprintf(text, sizeof(text), "%lld.%09ld", (long long)entry->mtime, entry->mtime_ns);
        add_record(&pax, "mtime", text);
    }
    if (pax.len > 0) {
        struct ustar before = {.name = "././@PaxHeader"};

        finish(&before, 0644, pax.len, 0, TN_TAR_PAX);
        tn_buf_add(out, &before, sizeof(before));
        tn_buf_add(out, pax.data, pax.len);
        pad_block(out, pax.len);
    }
    finish(&header, entry->mode, entry->size, entry->mtime, entry->type);
    tn_buf_add(out, &header, sizeof(header));
}

static int is_empty(const uint8_t *block)
{
    for (size_t i = 0; i < TN_TAR_BLOCK; i++)
        if (block[i] != 0)
            return 0;
    return 1;
}

int tn_tar_header_get(const uint8_t block[TN_TAR_BLOCK], struct tn_tar_names *names, struct tn_tar_entry *entry)
{
    struct ustar header;
    uint64_t sum;
    uint64_t mode;
    uint64_t mtime;

    if (is_empty(block))
        return 1;
    memcpy(&header, block, sizeof(header));
    if (get_number(header.checksum, sizeof(header.checksum), &sum) != 0 || sum != checksum(&header))
        return -1;
    *entry = (struct tn_tar_entry){.name = names->name, .link = names->link, .type = header.type};
    if (get_number(header.size, sizeof(header.size), &entry->size) != 0 ||
        get_number(header.mode, sizeof(header.mode), &mode) != 0 ||
        get_number(header.mtime, sizeof(header.mtime), &mtime) != 0)
        return -1;
    entry->mode = (uint32_t)mode & 07777;
    entry->mtime = (int64_t)mtime;
    if (header.type == '\0' || header.type == '7')
        entry->type = TN_TAR_FILE;
    /* GNU's own format ("ustar  ") uses the prefix's place for other things. */
    if (memcmp(header.magic, "ustar", 6) == 0 && header.prefix[0] != '\0')
        snprintf(names->name, sizeof(names->name), "%.155s/%.100s", header.prefix, header.name);
    else
        snprintf(names->name, sizeof(names->name), "%.100s", header.name);
    snprintf(names->link, sizeof(names->link), "%.100s", header.link);
    return 0;
}

/* "SECONDS[.FRACTION]" */
static int get_time(const char *value, struct tn_tar_pax *pax)
{
    char *end;
    long scale = 100000000;

    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): that &pax->name is not NULL says the same of pax */
    pax->mtime = strtoll(value, &end, 10);
    pax->mtime_ns = 0;
    if (end == value)
        return -1;
    if (*end == '.')
        for (end++; *end >= '0' && *end <= '9'; end++, scale /= 10)
            pax->mtime_ns += (*end - '0') * scale;
    pax->has_mtime = 1;
    return *end == '\0' ? 0 : -1;
}

static int take_record(struct tn_tar_pax *pax, const char *key, const char *value)
{
    char **text = strcmp(key, "path") == 0 ? &pax->name : strcmp(key, "linkpath") == 0 ? &pax->link : NULL;
    char *end;

    if (text != NULL) {
        if (strlen(value) > TN_TAR_NAME_MAX)
            return -1;
        free(*text);
        *text = strdup(value);
        return *text != NULL ? 0 : -1;
    }
    if (strcmp(key, "mtime") == 0)
        return get_time(value, pax);
    if (strcmp(key, "size") != 0)
        return 0;
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): the same as in get_time() */
    pax->size = strtoull(value, &end, 10);
    pax->has_size = 1;
    return end != value && *end == '\0' && value[0] != '-' && pax->size < 1ull << 62 ? 0 : -1;
}

int tn_tar_pax_get(const char *text, size_t len, struct tn_tar_pax *pax)
{
    while (len > 0) {
        size_t size = 0;
        size_t at = 0;
        char *record;
        char *equals;
        int result;

        for (; at < len && text[at] >= '0' && text[at] <= '9' && size <= TN_TAR_PAX_MAX; at++)
            size = size * 10 + (size_t)(text[at] - '0');
        if (at == 0 || at >= len || text[at] != ' ' || size > len || size < at + 4 || text[size - 1] != '\n')
            return -1;
        record = strndup(text + at + 1, size - at - 2);
        equals = record != NULL ? strchr(record, '=') : NULL;
        if (equals == NULL || strlen(record) != size - at - 2) {
            /* A value with a NUL (an attribute of some file system) is no name that we could use: skip it. */
            result =
                equals != NULL && strncmp(record, "path=", 5) != 0 && strncmp(record, "linkpath=", 9) != 0 ? 0 : -1;
        } else {
            *equals = '\0';
            result = take_record(pax, record, equals + 1);
        }
        free(record);
        if (result != 0)
            return -1;
        text += size;
        len -= size;
    }
    return 0;
}

void tn_tar_pax_free(struct tn_tar_pax *pax)
{
    free(pax->name);
    free(pax->link);
    *pax = (struct tn_tar_pax){0};
}
