#include "core/kernel/metadata.h"
#include "core/lib/cleanup.h"
#include "core/lib/metadata.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    INSTRUCTIONS_MAX = 256,
    DENY = -1, /* jumps that are set once the ends are known */
    ALLOW = -2,
};

static const struct {
    enum bpf_attach_type type;
    int family;
} hooks[TN_METADATA_HOOKS] = {{BPF_CGROUP_INET4_CONNECT, AF_INET},
                              {BPF_CGROUP_UDP4_SENDMSG, AF_INET},
                              {BPF_CGROUP_INET6_CONNECT, AF_INET6},
                              {BPF_CGROUP_UDP6_SENDMSG, AF_INET6}};

struct program {
    struct bpf_insn all[INSTRUCTIONS_MAX];
    int count;
};

/* ---- writing the program: R1 is the kernel's struct bpf_sock_addr, all numbers in it are in network order ---- */

static void add(struct program *program, struct bpf_insn one)
{
    program->all[program->count++] = one;
}

static void load(struct program *program, size_t offset)
{
    add(program, (struct bpf_insn){BPF_LDX | BPF_MEM | BPF_W, BPF_REG_2, BPF_REG_1, (int16_t)offset, 0});
}

/* R2 == value, after R2 &= mask: go on; else skip `over` instructions. */
static void expect(struct program *program, uint32_t mask, uint32_t value, int over)
{
    if (mask != UINT32_MAX)
        add(program, (struct bpf_insn){BPF_ALU | BPF_AND | BPF_K, BPF_REG_2, 0, 0, (int32_t)mask});
    add(program, (struct bpf_insn){BPF_JMP32 | BPF_JNE | BPF_K, BPF_REG_2, 0, (int16_t)over, (int32_t)value});
}

static void go(struct program *program, int end)
{
    add(program, (struct bpf_insn){BPF_JMP | BPF_JA, 0, 0, (int16_t)end, 0});
}

static uint32_t mask_of(const struct tn_metadata_v4 *entry)
{
    return htonl((uint32_t)(UINT64_C(0xffffffff) << (32 - entry->bits)));
}

static uint32_t word_of(const uint8_t *bytes)
{
    uint32_t word;

    memcpy(&word, bytes, sizeof(word));
    return word;
}

static void check_v4(struct program *program, size_t offset)
{
    for (size_t i = 0; i < sizeof(tn_metadata_v4) / sizeof(tn_metadata_v4[0]); i++) {
        const struct tn_metadata_v4 *entry = &tn_metadata_v4[i];

        load(program, offset);
        expect(program, mask_of(entry), word_of(entry->address) & mask_of(entry), 1);
        go(program, DENY);
    }
}

static void check_v6(struct program *program)
{
    const size_t at = offsetof(struct bpf_sock_addr, user_ip6);
    const uint32_t mapped[] = {0, 0, htonl(0xffff)};
    int skip;
    int from;

    for (size_t i = 0; i < sizeof(tn_metadata_v6) / sizeof(tn_metadata_v6[0]); i++) {
        for (size_t word = 0; word < 4; word++) {
            load(program, at + 4 * word);
            expect(program, UINT32_MAX, word_of(tn_metadata_v6[i] + 4 * word), (int)(2 * (3 - word)) + 1);
        }
        go(program, DENY);
    }
    from = program->count;
    for (size_t word = 0; word < 3; word++) {
        load(program, at + 4 * word);
        expect(program, UINT32_MAX, mapped[word], ALLOW); /* the last check: nothing else is left */
    }
    check_v4(program, at + 12);
    for (skip = from; skip < program->count; skip++)
        if (program->all[skip].off == ALLOW)
            program->all[skip].off = (int16_t)(program->count - skip - 1);
}

/* Port 53 first: whoever may, may. Then the addresses. */
static void write_program(struct program *program, int family)
{
    int end;

    load(program, offsetof(struct bpf_sock_addr, user_port));
    expect(program, UINT32_MAX, htons(TN_METADATA_OPEN_PORT), 1);
    go(program, ALLOW);
    if (family == AF_INET)
        check_v4(program, offsetof(struct bpf_sock_addr, user_ip4));
    else
        check_v6(program);
    end = program->count;
    add(program, (struct bpf_insn){BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 1});
    add(program, (struct bpf_insn){BPF_JMP | BPF_EXIT, 0, 0, 0, 0});
    add(program, (struct bpf_insn){BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 0});
    add(program, (struct bpf_insn){BPF_JMP | BPF_EXIT, 0, 0, 0, 0});
    for (int i = 0; i < end; i++)
        if (program->all[i].code == (BPF_JMP | BPF_JA))
            program->all[i].off = (int16_t)(end - i - 1 + (program->all[i].off == DENY ? 2 : 0));
}

/* ---- the kernel ---- */

static int load_program(int family, enum bpf_attach_type type)
{
    struct program program = {.count = 0};
    union bpf_attr attr = {0};

    write_program(&program, family);
    attr.prog_type = BPF_PROG_TYPE_CGROUP_SOCK_ADDR;
    attr.expected_attach_type = type;
    attr.insns = (uint64_t)(uintptr_t)program.all;
    attr.insn_cnt = (uint32_t)program.count;
    attr.license = (uint64_t)(uintptr_t) "Apache-2.0";
    return (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
}

int tn_metadata_open(struct tn_metadata *metadata, struct tn_err *err)
{
    for (size_t i = 0; i < TN_METADATA_HOOKS; i++)
        metadata->fds[i] = -1;
    for (size_t i = 0; i < TN_METADATA_HOOKS; i++) {
        metadata->fds[i] = load_program(hooks[i].family, hooks[i].type);
        if (metadata->fds[i] < 0) {
            int sys = errno;

            tn_metadata_close(metadata);
            return tn_err_sys(err, sys, "no BPF program can be loaded");
        }
    }
    return 0;
}

void tn_metadata_close(struct tn_metadata *metadata)
{
    for (size_t i = 0; i < TN_METADATA_HOOKS; i++) {
        if (metadata->fds[i] >= 0)
            close(metadata->fds[i]);
        metadata->fds[i] = -1;
    }
}

int tn_metadata_deny(const struct tn_metadata *metadata, const char *folder, struct tn_err *err)
{
    auto_fd int group = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (group < 0)
        return tn_err_sys(err, errno, "the control group %s", folder);
    for (size_t i = 0; i < TN_METADATA_HOOKS; i++) {
        union bpf_attr attr = {0};

        attr.target_fd = (uint32_t)group;
        attr.attach_bpf_fd = (uint32_t)metadata->fds[i];
        attr.attach_type = hooks[i].type;
        attr.attach_flags = BPF_F_ALLOW_MULTI;
        if (syscall(SYS_bpf, BPF_PROG_ATTACH, &attr, sizeof(attr)) != 0)
            return tn_err_sys(err, errno, "no BPF program can be attached to %s", folder);
    }
    return 0;
}
