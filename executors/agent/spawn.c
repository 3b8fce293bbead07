#include "executors/agent/spawn.h"
#include "core/lib/cleanup.h"
#include "executors/agent/side.h"
#include "executors/agent/users.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PIPE_BYTES (256 * 1024)
#define SIDE_FD 3

extern char **environ;

/* Both ends close-on-exec; the agent's end non-blocking. */
static int open_pipe(int pair[2], int agent_end, struct tn_err *err)
{
    if (pipe2(pair, O_CLOEXEC) != 0)
        return tn_err_sys(err, errno, "a pipe for the channel");
    if (fcntl(pair[agent_end], F_SETFL, O_NONBLOCK) != 0)
        return tn_err_sys(err, errno, "a pipe for the channel");
    /* Only a matter of speed: an unprivileged user may have used up its share of pipe memory. */
    fcntl(pair[agent_end], F_SETPIPE_SZ, PIPE_BYTES);
    return 0;
}

static void reset_signals(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int sig = 1; sig < 65; sig++)
        sigaction(sig, &action, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* In the child. Moves the ends to their places; returns the side pipe's descriptor. */
static int take_places(int in, int out, int side, bool stderr_apart)
{
    int high = fcntl(side, F_DUPFD_CLOEXEC, 10);

    if (in < 0)
        in = open("/dev/null", O_RDONLY | O_CLOEXEC);
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    if (!stderr_apart)
        dup2(out, STDERR_FILENO);
    dup3(high, SIDE_FD, O_CLOEXEC);
    /* A child that does not exec must not hold other channels' pipes or the connection open. */
    if (syscall(SYS_close_range, SIDE_FD + 1, ~0u, 0) != 0) {
        struct rlimit limit = {1024, 1024};

        getrlimit(RLIMIT_NOFILE, &limit);
        for (int fd = SIDE_FD + 1; fd < 65536 && (rlim_t)fd < limit.rlim_cur; fd++)
            close(fd);
    }
    return SIDE_FD;
}

static pid_t fork_child(struct tn_spawned *out, bool with_stdin, bool stderr_apart, int *side, struct tn_err *err)
{
    int in_pair[2] = {-1, -1};
    int out_pair[2] = {-1, -1};
    int side_pair[2] = {-1, -1};
    pid_t pid = -1;

    if ((with_stdin && open_pipe(in_pair, 1, err) != 0) || open_pipe(out_pair, 0, err) != 0 ||
        open_pipe(side_pair, 0, err) != 0)
        goto done;
    pid = fork();
    if (pid < 0)
        tn_err_sys(err, errno, "a process for the channel");
    if (pid == 0) {
        setsid();
        reset_signals();
        *side = take_places(in_pair[0], out_pair[1], side_pair[1], stderr_apart);
        return 0;
    }
done:
    *out = (struct tn_spawned){pid, in_pair[1], out_pair[0], side_pair[0]};
    for (int i = 0; i < 3; i++) {
        int ours = i == 0 ? in_pair[1] : i == 1 ? out_pair[0] : side_pair[0];
        int theirs = i == 0 ? in_pair[0] : i == 1 ? out_pair[1] : side_pair[1];

        if (theirs >= 0)
            close(theirs);
        if (pid < 0 && ours >= 0)
            close(ours);
    }
    return pid;
}

/* In the child. */
static void become(const char *who, int side)
{
    struct tn_user user;
    struct tn_err err = TN_ERR_INIT;

    if (who[0] == '\0')
        return;
    if (tn_user_find(who, &user, &err) != 0) {
        tn_side_say(side, TN_SIDE_SPAWN, ENOENT, "%s", err.text);
        _exit(127);
    }
    if (user.uid == geteuid() && user.gid == getegid())
        return;
    if (setgroups((size_t)user.group_count, user.groups) != 0 || setgid(user.gid) != 0 || setuid(user.uid) != 0) {
        tn_side_say(side, TN_SIDE_SPAWN, errno, "cannot become user \"%s\": %s", who, strerror(errno));
        _exit(127);
    }
}

static void say_why_not(const char *program, int error, int side)
{
    if (error == ENOENT && strchr(program, '/') != NULL && access(program, F_OK) == 0)
        tn_side_say(side, TN_SIDE_SPAWN, error, "cannot run %s: the interpreter or loader that it names is missing",
                    program);
    else if (error == ENOENT && strchr(program, '/') != NULL)
        tn_side_say(side, TN_SIDE_SPAWN, error, "no such file: %s", program);
    else if (error == ENOENT)
        tn_side_say(side, TN_SIDE_SPAWN, error, "no program \"%s\" in the PATH %s", program,
                    getenv("PATH") != NULL ? getenv("PATH") : "(unset)");
    else
        tn_side_say(side, TN_SIDE_SPAWN, error, "cannot run %s: %s", program, strerror(error));
}

/* In the child: never returns. */
static void run_program(const struct tn_agent_spawn *spawn, char **env, int side)
{
    become(spawn->user, side);
    if (spawn->cwd[0] != '\0' && chdir(spawn->cwd) != 0) {
        tn_side_say(side, TN_SIDE_SPAWN, errno, "cannot enter the folder %s: %s", spawn->cwd, strerror(errno));
        _exit(127);
    }
    environ = env; /* the program is looked for in the PATH that it will see itself */
    execvp(spawn->argv[0], (char *const *)spawn->argv);
    say_why_not(spawn->argv[0], errno, side);
    _exit(127);
}

/* By this variable who started the agent finds what left everything else: no command may set it. */
static const char mark[] = "TENON_PROGRAM=";

/* Is the variable of this "NAME=value" set by the command, too? */
static bool is_set(const struct tn_agent_spawn *spawn, const char *entry)
{
    size_t name = (size_t)(strchrnul(entry, '=') - entry) + 1;

    if (strncmp(entry, mark, sizeof(mark) - 1) == 0)
        return false;
    for (uint32_t i = 0; i < spawn->envc; i++)
        if (strncmp(spawn->envp[i], entry, name) == 0)
            return true;
    return false;
}

static size_t count_environ(void)
{
    size_t count = 0;

    while (environ != NULL && environ[count] != NULL)
        count++;
    return count;
}

int tn_spawn_program(const struct tn_agent_spawn *spawn, const char *halt, struct tn_spawned *out, struct tn_err *err)
{
    size_t name = (size_t)(strchr(halt, '=') - halt) + 1;
    size_t count = 0;
    int side = -1;
    pid_t pid;
    size_t own = (spawn->flags & TN_AGENT_ENV_ADD) != 0 ? count_environ() : 0;
    auto_free char **env = calloc(own + spawn->envc + 2, sizeof(*env));

    if (env == NULL)
        return tn_err_sys(err, ENOMEM, "the environment of a channel");
    for (size_t i = 0; i < own; i++)
        if (!is_set(spawn, environ[i]) && strncmp(environ[i], halt, name) != 0)
            env[count++] = environ[i];
    for (uint32_t i = 0; i < spawn->envc; i++)
        if (strncmp(spawn->envp[i], halt, name) != 0 && strncmp(spawn->envp[i], mark, sizeof(mark) - 1) != 0)
            env[count++] = (char *)spawn->envp[i];
    env[count] = (char *)halt;
    pid = fork_child(out, (spawn->flags & TN_AGENT_STDIN_OPEN) != 0, (spawn->flags & TN_AGENT_STDERR_APART) != 0, &side,
                     err);
    if (pid == 0)
        run_program(spawn, env, side);
    return pid > 0 ? 0 : -1;
}

int tn_spawn_work(int (*work)(void *arg, int side), void *arg, bool with_stdin, struct tn_spawned *out,
                  struct tn_err *err)
{
    int side = -1;
    pid_t pid = fork_child(out, with_stdin, true, &side, err);

    if (pid == 0)
        _exit(work(arg, side));
    return pid > 0 ? 0 : -1;
}
