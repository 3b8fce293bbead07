#include "executors/agent/facts.h"
#include "executors/agent/users.h"

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static void add_fact(struct tn_buf *facts, const char *key, const char *value)
{
    if (value == NULL || strchr(value, '\n') != NULL)
        value = "";
    tn_buf_addf(facts, "%s=%s\n", key, value);
}

static const char *if_executable(const char *path)
{
    return access(path, X_OK) == 0 ? path : "";
}

/* "25_1": family and model, as /proc/cpuinfo has them, which an environment may not have; "" where there are none. */
static const char *processor(char *text, size_t size)
{
    text[0] = '\0';
#if defined(__x86_64__) || defined(__i386__)
    {
        unsigned eax = 0;
        unsigned ebx;
        unsigned ecx;
        unsigned edx;
        unsigned family;
        unsigned model;

        if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0)
            return text;
        family = eax >> 8 & 15;
        model = eax >> 4 & 15;
        if (family == 6 || family == 15)
            model += eax >> 12 & 0xf0;
        if (family == 15)
            family += eax >> 20 & 0xff;
        snprintf(text, size, "%u_%u", family, model);
    }
#endif
    return text;
}

/* What Docker gives a container whose image names none, and what shells fall back to. */
static const char default_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

void tn_facts_collect(struct tn_buf *facts, const char *dir, const char *bin)
{
    struct utsname system = {0};
    struct tn_user user;
    char text[PATH_MAX];
    const char *home = getenv("HOME");
    const char *path = getenv("PATH");
    ssize_t len;

    uname(&system);
    add_fact(facts, "arch", system.machine);
    add_fact(facts, "cpu", processor(text, sizeof(text)));
    snprintf(text, sizeof(text), "%u", (unsigned)geteuid());
    if (tn_user_find(text, &user, NULL) != 0)
        user = (struct tn_user){0};
    add_fact(facts, "os", "linux");
    add_fact(facts, "pid1", getpid() == 1 ? "1" : "0");
    add_fact(facts, "uid", text);
    snprintf(text, sizeof(text), "%u", (unsigned)getegid());
    add_fact(facts, "gid", text);
    add_fact(facts, "user", user.name);
    add_fact(facts, "home", home != NULL && home[0] == '/' ? home : user.home[0] == '/' ? user.home : "/");
    add_fact(facts, "hostname", system.nodename);
    add_fact(facts, "path", path != NULL && path[0] != '\0' ? path : default_path);
    add_fact(facts, "cwd", getcwd(text, sizeof(text)));
    add_fact(facts, "shell_bash", if_executable("/bin/bash"));
    add_fact(facts, "shell_sh", if_executable("/bin/sh"));
    len = readlink("/proc/self/exe", text, sizeof(text) - 1);
    text[len > 0 ? len : 0] = '\0';
    add_fact(facts, "exe", text);
    add_fact(facts, "dir", dir);
    add_fact(facts, "bin", bin);
}
