/* What an intruder would try from within one of our processes. Each attempt is a function that runs in a process of its
 * own, confined as its parent is (tests/confine/prober.c), and harms nothing should it succeed. */
#ifndef TN_TESTS_ATTEMPTS_H
#define TN_TESTS_ATTEMPTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What it goes for. Written by test.py into the file `targets` beside core/, one value a line. */
struct targets {
    pid_t role;       /* the process that is probed, parent of the attempt */
    pid_t tenond;     /* its parent */
    pid_t other;      /* another process of the host, of tenond's user */
    uint16_t address; /* of the role on the bus, and its life */
    uint32_t life;
    uint16_t port;     /* somebody of the host listens there, on 127.0.0.1 */
    char base[256];    /* holds run/ state/ store/ and what lies beside them */
    char root[256];    /* of the programs */
    char abstract[64]; /* name of an abstract socket on which somebody of the host listens */
};

struct attempt {
    const char *name;
    /* 0 or more: it worked; -1: it did not, see errno. */
    long (*go)(const struct targets *targets);
    bool only_filtered; /* would end or hang the attempt itself if nothing stopped it */
};

/* Each ends with a NULL name. */
extern const struct attempt call_attempts[];
extern const struct attempt memory_attempts[];
extern const struct attempt network_attempts[];
extern const struct attempt file_attempts[];

#endif
