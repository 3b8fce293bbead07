/* Code that was not there at the start, and calls by another door. */
#include "tests/confine/attempts.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = 4096 };

static long go_mmap(const struct targets *targets)
{
    return mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1
                                                                                                                  : 0;
}

static long go_mprotect(const struct targets *targets)
{
    void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return page == MAP_FAILED ? -1 : mprotect(page, PAGE, PROT_READ | PROT_EXEC);
}

static long go_pkey_mprotect(const struct targets *targets)
{
    void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return page == MAP_FAILED ? -1 : syscall(SYS_pkey_mprotect, page, PAGE, PROT_READ | PROT_EXEC, -1);
}

static long go_memfd(const struct targets *targets)
{
    return syscall(SYS_memfd_create, "tenon", 0);
}

#ifdef __x86_64__
/* getpid by the 32-bit door: its numbers are other calls' in the filter. */
static long go_int80(const struct targets *targets)
{
    long result;

    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
    return result;
}

static long go_x32(const struct targets *targets)
{
    return syscall(0x40000000L + SYS_getpid);
}
#endif

const struct attempt memory_attempts[] = {
    {"mmap of new code", go_mmap},
    {"mprotect to code", go_mprotect},
    {"pkey_mprotect to code", go_pkey_mprotect},
    {"memfd_create", go_memfd},
#ifdef __x86_64__
    {"a call by the 32-bit door", go_int80},
    {"a call by the x32 door", go_x32},
#endif
    {NULL},
};
