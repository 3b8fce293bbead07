/* An intruder who has taken over one of our processes. tenond starts this program in place of a role's own, so that it
 * gets all that tenond applies; it confines itself as the role's main() does, with the role's own profile; and then
 * each attempt is made by a child of its own, three times:
 *
 *     bare      before Landlock and seccomp: what tenond alone has applied
 *     landlock  without seccomp
 *     all       behind everything, as the real process is
 *
 * Each ending is written to the log: "probe <TAB> role <TAB> phase <TAB> attempt <TAB> ending". test.py compares. */
#include "core/lib/log.h"
#include "tests/confine/attempts.h"
#include "tests/confine/bus_attempts.h"
#include "tests/confine/roles.h"
#include "tests/confine/sweep.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE_S = 3, FILTER_BYTES = 256 * 1024 };

/* Written by a child, read by its parent. */
struct ending {
    bool ended;
    long result;
    int sys;
};

struct prober {
    const char *role;
    struct tn_service service;
    struct tn_confine confine;
    struct targets targets;
    enum sweep_kind kinds[SWEEP_CALLS];
    struct sock_fprog filter;
    struct ending *ending; /* shared */
};

static const struct attempt *const lists[] = {call_attempts, memory_attempts, network_attempts, file_attempts};

/* ---- one attempt ---- */

/* What a child does. `attempt` NULL: the call `number`, with bad pointers; that -1: all that are refused. */
struct task {
    const struct attempt *attempt;
    long number;
};

static void take_filter(const struct prober *prober)
{
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prober->filter) != 0)
        _exit(99);
}

static void run_child(const struct prober *prober, const struct task *task, bool filtered)
{
    alarm(PATIENCE_S);
    if (filtered)
        take_filter(prober);
    errno = 0;
    if (task->attempt != NULL)
        prober->ending->result = task->attempt->go(&prober->targets);
    else if (task->number >= 0)
        prober->ending->result = syscall(task->number, 1, 1, 1, 1, 1, 1);
    else
        prober->ending->result = sweep_refused(prober->kinds);
    prober->ending->sys = errno;
    prober->ending->ended = true;
    _exit(0);
}

static void say(const struct prober *prober, const char *phase, const char *name, const char *ending)
{
    char line[400];
    int length = snprintf(line, sizeof(line), "probe\t%s\t%s\t%s\t%s\n", prober->role, phase, name, ending);

    if (write(STDERR_FILENO, line, (size_t)length) != length) /* one write, so that lines of others stay whole */
        _exit(98);
}

static void say_ending(const struct prober *prober, const char *phase, const char *name, int status)
{
    const struct ending *ending = prober->ending;
    char text[64];

    if (WIFSIGNALED(status))
        snprintf(text, sizeof(text), "SIG%s", sigabbrev_np(WTERMSIG(status)));
    else if (!ending->ended)
        snprintf(text, sizeof(text), "exit %d", WEXITSTATUS(status));
    else if (ending->result >= 0)
        snprintf(text, sizeof(text), "done");
    else
        snprintf(text, sizeof(text), "%s", strerrorname_np(ending->sys) != NULL ? strerrorname_np(ending->sys) : "?");
    say(prober, phase, name, text);
}

static int make(struct prober *prober, const struct task *task, bool filtered)
{
    int status = 0;
    pid_t pid;

    memset(prober->ending, 0, sizeof(*prober->ending));
    pid = fork();
    if (pid == 0)
        run_child(prober, task, filtered);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (pid < 0)
        tn_fatal(3, "fork: %s", strerror(errno));
    return status;
}

/* ---- phases ---- */

static void make_all(struct prober *prober, const char *phase, bool filtered)
{
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        for (const struct attempt *attempt = lists[i]; attempt->name != NULL; attempt++) {
            struct task task = {.attempt = attempt};

            if (filtered || !attempt->only_filtered)
                say_ending(prober, phase, attempt->name, make(prober, &task, filtered));
        }
}

static void sweep(struct prober *prober)
{
    struct task refused = {.number = -1};
    char text[64];
    int status;

    for (long number = 0; number < SWEEP_CALLS; number++) {
        struct task task = {.number = number};
        char *name;
        char title[100];

        if (prober->kinds[number] != SWEEP_DEADLY)
            continue;
        name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, (int)number);
        snprintf(title, sizeof(title), "bad pointers: %s", name != NULL ? name : "?");
        say_ending(prober, "all", title, make(prober, &task, true));
        free(name);
    }
    status = make(prober, &refused, true);
    if (status != 0)
        snprintf(text, sizeof(text), "status %d", status);
    else if (prober->ending->result != 0)
        snprintf(text, sizeof(text), "call %ld: %d", prober->ending->result - 1, prober->ending->sys);
    else
        snprintf(text, sizeof(text), "ENOSYS");
    say(prober, "all", "bad pointers: every other call", text);
}

/* The very filter that tn_confine_syscalls() loads. */
static void read_filter(struct prober *prober)
{
    struct tn_err err = TN_ERR_INIT;
    int fd = memfd_create("filter", MFD_CLOEXEC);
    void *bytes = malloc(FILTER_BYTES);
    ssize_t size;

    if (fd < 0 || bytes == NULL || tn_confine_write_filter(&prober->confine, fd, &err) != 0)
        tn_fatal(3, "no filter: %s", err.text);
    size = pread(fd, bytes, FILTER_BYTES, 0);
    close(fd);
    if (size <= 0 || size == FILTER_BYTES)
        tn_fatal(3, "the filter has %zd bytes", size);
    prober->filter.filter = bytes;
    prober->filter.len = (unsigned short)((size_t)size / sizeof(struct sock_filter));
}

static unsigned long number_of(const char *name)
{
    const char *text = getenv(name);

    if (text == NULL)
        tn_fatal(2, "%s is not set: this program is started by tenond, not by hand", name);
    return strtoul(text, NULL, 10);
}

/* Beside core/: port, pid, base, name of an abstract socket, each on a line. */
static void read_targets(struct prober *prober, const char *program)
{
    struct targets *targets = &prober->targets;
    char path[sizeof(targets->root) + 16];
    char *below;
    FILE *file;
    int port;
    int pid;

    snprintf(targets->root, sizeof(targets->root), "%s", program);
    below = strstr(targets->root, "/core/");
    if (below == NULL)
        below = strstr(targets->root, "/executors/");
    if (below == NULL)
        tn_fatal(2, "%s is not below core/ or executors/", program);
    *below = '\0';
    snprintf(path, sizeof(path), "%s/targets", targets->root);
    file = fopen(path, "re");
    if (file == NULL || fscanf(file, "%d %d %255s %63s", &port, &pid, targets->base, targets->abstract) != 4)
        tn_fatal(2, "%s: expected port, pid, folder and name of a socket", path);
    (void)fclose(file);
    targets->port = (uint16_t)port;
    targets->other = pid;
    targets->role = getpid();
    targets->tenond = getppid();
    targets->address = (uint16_t)number_of("TENON_ADDRESS");
    targets->life = (uint32_t)number_of("TENON_LIFE");
}

static void say_heard(void *arg, const char *attempt, const char *ending)
{
    say(arg, "bus", attempt, ending);
}

/* The steps of every main() of ours, with attempts between them. */
int main(int argc, char **argv)
{
    static struct prober prober;
    char confinement[TN_CONFINE_TEXT] = "";
    struct tn_err err = TN_ERR_INIT;

    prober.ending = mmap(NULL, sizeof(*prober.ending), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (prober.ending == MAP_FAILED)
        tn_fatal(3, "no shared memory");
    read_targets(&prober, argv[0]);
    prober.role = role_begin(argv[0], &prober.service, &prober.confine);
    snprintf(confinement, sizeof(confinement), "%d", (int)getpid());
    say(&prober, "facts", "pid", confinement);
    confinement[0] = '\0';
    sweep_learn(prober.confine.profile, prober.kinds);
    read_filter(&prober);
    signal(SIGSYS, SIG_DFL);
    make_all(&prober, "bare", false);
    if (tn_confine_files(&prober.confine, confinement, sizeof(confinement), &err) != 0)
        tn_warn("%s", err.text);
    make_all(&prober, "landlock", false);
    make_all(&prober, "all", true);
    sweep(&prober);
    if (prober.service.base == NULL) { /* the bus: nobody can be reached without it */
        if (tn_confine_syscalls(&prober.confine, confinement, sizeof(confinement), &err) != 0)
            tn_warn("%s", err.text);
        say(&prober, "facts", "confinement", confinement);
        for (;;)
            pause();
    }
    bus_attempts_open(&prober.service, say_heard, &prober);
    if (tn_confine_syscalls(&prober.confine, confinement, sizeof(confinement), &err) != 0)
        tn_warn("%s", err.text);
    say(&prober, "facts", "confinement", confinement);
    bus_attempts_begin(confinement, prober.role);
    return tn_service_run(&prober.service);
}
