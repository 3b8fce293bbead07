#include "executors/sdk/agent_files.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>

enum { AGENT_MAX = 16 << 20 };

char *tn_agent_files_find(void)
{
    /* The kernel's word for what was started: /proc is not everywhere to be seen. */
    const char *program = (const char *)getauxval(AT_EXECFN);
    char self[PATH_MAX];

    if (program == NULL || realpath(program, self) == NULL)
        return NULL;
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(self, '/');

        if (slash == NULL)
            return NULL;
        *slash = '\0';
    }
    return tn_fs_path("%s/agent/tenon-agent", self);
}

/* Whole or not at all, but not durable: after a crash of the host it is installed again. */
static int replace_program(const char *target, const struct tn_buf *program, struct tn_err *err)
{
    auto_free char *temporary = tn_fs_path("%s.%ld.tmp", target, (long)getpid());
    auto_fd int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0755);

    if (fd < 0)
        return tn_err_sys(err, errno, "cannot write %s", temporary);
    if (tn_fs_write_all(fd, program->data, program->len, err) != 0)
        return tn_err_wrap(err, "%s", temporary);
    if (fchmod(fd, 0755) != 0 || rename(temporary, target) != 0)
        return tn_err_sys(err, errno, "cannot make %s", target);
    return 0;
}

int tn_agent_files_install(const char *agent, const char *bin, struct tn_err *err)
{
    static const char *const names[] = {"circleci", "circleci-agent"};
    auto_free char *target = tn_fs_path("%s/tenon-agent", bin);
    auto_buf struct tn_buf program = TN_BUF_INIT;

    if (tn_fs_make_dirs(bin, 0755, err) != 0)
        return -1;
    if (chmod(bin, 0755) != 0)
        return tn_err_sys(err, errno, "cannot open %s to everybody", bin);
    if (tn_fs_read(agent, AGENT_MAX, &program, err) != 0 || replace_program(target, &program, err) != 0)
        return -1;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        auto_free char *name = tn_fs_path("%s/%s", bin, names[i]);

        if (symlink("tenon-agent", name) != 0 && errno != EEXIST)
            return tn_err_sys(err, errno, "cannot make %s", name);
    }
    return 0;
}
