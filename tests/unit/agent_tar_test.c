/* The tar format: round trips of headers at the edges where a pax record begins, and malformed blocks. That unpacking
 * stays inside its folder is tested with the real agent (tests/integration/agent_test.py). */
#include "executors/agent/tar.h"
#include "tests/unit/check.h"

#include <stdlib.h>

static char *name_of(size_t len, size_t slash)
{
    char *name = malloc(len + 1);

    memset(name, 'n', len);
    name[len] = '\0';
    if (slash > 0)
        name[slash] = '/';
    return name;
}

/* Writes an entry, reads it back as an unpacker does. Returns how many blocks the header took. */
static size_t round_trip(const struct tn_tar_entry *entry)
{
    auto_buf struct tn_buf out = TN_BUF_INIT;
    struct tn_tar_names names;
    struct tn_tar_entry back;
    struct tn_tar_pax pax = {0};
    const uint8_t *at;
    size_t blocks;

    tn_tar_header_put(&out, entry);
    CHECK_INT(out.len % TN_TAR_BLOCK, 0);
    blocks = out.len / TN_TAR_BLOCK;
    at = (const uint8_t *)out.data;
    CHECK_INT(tn_tar_header_get(at, &names, &back), 0);
    if (back.type == TN_TAR_PAX) {
        CHECK_INT(tn_tar_pax_get((const char *)at + TN_TAR_BLOCK, back.size, &pax), 0);
        at += TN_TAR_BLOCK + (back.size + TN_TAR_BLOCK - 1) / TN_TAR_BLOCK * TN_TAR_BLOCK;
        CHECK_INT(tn_tar_header_get(at, &names, &back), 0);
    }
    CHECK_STR(pax.name != NULL ? pax.name : back.name, entry->name);
    CHECK_STR(pax.link != NULL ? pax.link : back.link, entry->link);
    CHECK_INT(pax.has_size ? pax.size : back.size, entry->size);
    CHECK_INT(pax.has_mtime ? pax.mtime : back.mtime, entry->mtime);
    CHECK_INT(pax.has_mtime ? pax.mtime_ns : 0, entry->mtime_ns);
    CHECK_INT(back.mode, entry->mode);
    CHECK_INT(back.type, entry->type);
    tn_tar_pax_free(&pax);
    return blocks;
}

static void check_name(size_t len, size_t slash, size_t blocks)
{
    char *name = name_of(len, slash);

    CHECK_INT(round_trip(&(struct tn_tar_entry){.name = name, .link = "", .type = TN_TAR_FILE, .mode = 0644}), blocks);
    free(name);
}

static void test_round_trips(void)
{
    char *link = name_of(101, 0);

    check_name(1, 0, 1);
    check_name(100, 0, 1);
    check_name(101, 0, 3);
    check_name(101, 50, 1);
    check_name(256, 155, 1); /* prefix 155, name 100 */
    check_name(257, 155, 3);
    check_name(257, 156, 3);
    check_name(101, 100, 3); /* a folder of 100 characters with its slash */
    check_name(5000, 7, 12);
    CHECK_INT(round_trip(&(struct tn_tar_entry){.name = "l", .link = link, .type = TN_TAR_LINK, .mode = 0777}), 3);
    CHECK_INT(round_trip(&(struct tn_tar_entry){.name = "l", .link = link + 1, .type = TN_TAR_LINK, .mode = 0777}), 1);
    CHECK_INT(round_trip(&(struct tn_tar_entry){.name = "f", .link = "", .type = TN_TAR_FILE, .size = 077777777777}),
              1);
    CHECK_INT(round_trip(&(struct tn_tar_entry){.name = "f", .link = "", .type = TN_TAR_FILE, .size = 0100000000000}),
              3);
    CHECK_INT(round_trip(&(struct tn_tar_entry){
                  .name = "f", .link = "", .type = TN_TAR_DIR, .mtime = 1700000000, .mtime_ns = 5}),
              3);
    free(link);
}

static void test_headers_malformed(void)
{
    auto_buf struct tn_buf out = TN_BUF_INIT;
    uint8_t block[TN_TAR_BLOCK] = {0};
    struct tn_tar_names names;
    struct tn_tar_entry entry;

    CHECK_INT(tn_tar_header_get(block, &names, &entry), 1);
    tn_tar_header_put(&out, &(struct tn_tar_entry){.name = "name", .link = "", .type = TN_TAR_FILE, .size = 5});
    for (size_t i = 0; i < TN_TAR_BLOCK; i++) {
        memcpy(block, out.data, sizeof(block));
        block[i] ^= 1;
        if (i < 148 || i >= 156) /* in the sum's own field some changes mean the same number */
            CHECK_INT(tn_tar_header_get(block, &names, &entry), -1);
    }
    srand(5);
    for (int i = 0; i < 20000; i++) {
        for (size_t k = 0; k < sizeof(block); k++)
            block[k] = (uint8_t)rand();
        CHECK_INT(tn_tar_header_get(block, &names, &entry), -1);
    }
}

static void check_pax(const char *text, int result)
{
    struct tn_tar_pax pax = {0};

    if (tn_tar_pax_get(text, strlen(text), &pax) != result)
        CHECK_STR(text, result == 0 ? "accepted" : "refused");
    tn_tar_pax_free(&pax);
}

static void test_pax(void)
{
    struct tn_tar_pax pax = {0};
    const char both[] = "9 path=a\n20 mtime=12.3456789\n";

    CHECK_INT(tn_tar_pax_get(both, 9, &pax), 0);
    CHECK_STR(pax.name, "a");
    CHECK_INT(tn_tar_pax_get("20 mtime=12.3456789\n", 20, &pax), 0);
    CHECK(pax.mtime == 12 && pax.mtime_ns == 345678900);
    tn_tar_pax_free(&pax);
    check_pax("", 0);
    check_pax("9 path=a\n9 path=b\n", 0);
    check_pax("13 other=abc\n", 0);
    check_pax("10 size=5\n", 0);
    check_pax("11 size=-5\n", -1);
    check_pax("28 size=99999999999999999999\n", -1);
    check_pax("8 path=a\n", -1);
    check_pax("11 path=a\n", -1);
    check_pax("9 path:a\n", -1);
    check_pax("path=a\n", -1);
    check_pax("99999999999999999999999 path=a\n", -1);
    check_pax("0 \n", -1);
    check_pax("3 \n", -1);
    CHECK_INT(tn_tar_pax_get("11 path=a\0\n", 11, &pax), -1);
    tn_tar_pax_free(&pax);
}

/* Behind content whose beginning was flushed already, so that the buffer does not begin with a block. */
static void test_unaligned_buffer(void)
{
    auto_buf struct tn_buf out = TN_BUF_INIT;
    struct tn_tar_names names;
    struct tn_tar_entry back;
    struct tn_tar_entry entry = {.name = "next", .link = "", .type = TN_TAR_FILE, .mtime = 1, .mtime_ns = 5};

    tn_buf_add(&out, "the padding of the file before", 30);
    tn_tar_header_put(&out, &entry);
    CHECK_INT(out.len, 30 + 3 * TN_TAR_BLOCK);
    CHECK_INT(tn_tar_header_get((const uint8_t *)out.data + 30, &names, &back), 0);
    CHECK_INT(back.type, TN_TAR_PAX);
    CHECK_INT(tn_tar_header_get((const uint8_t *)out.data + 30 + 2 * TN_TAR_BLOCK, &names, &back), 0);
    CHECK_STR(back.name, "next");
}

int main(void)
{
    test_round_trips();
    test_unaligned_buffer();
    test_headers_malformed();
    test_pax();
    return tn_check_result();
}
