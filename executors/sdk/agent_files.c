#include "executors/sdk/agent_files.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

enum { AGENT_MAX = 16 << 20 };

char *tn_agent_files_find(void)
{
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (length <= 0)
        return NULL;
    self[length] = '\0';
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(self, '/');

        if (slash == NULL)
            return NULL;
        *slash = '\0';
    }
    return tn_fs_path("%s/agent/tenon-agent", self);
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
    if (tn_fs_read(agent, AGENT_MAX, &program, err) != 0 ||
        tn_fs_write_atomic(target, program.data, program.len, 0755, err) != 0)
        return -1;
    if (chmod(target, 0755) != 0)
        return tn_err_sys(err, errno, "cannot open %s to everybody", target);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        auto_free char *name = tn_fs_path("%s/%s", bin, names[i]);

        if (symlink("tenon-agent", name) != 0 && errno != EEXIST)
            return tn_err_sys(err, errno, "cannot make %s", name);
    }
    return 0;
}
