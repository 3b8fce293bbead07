#include "core/kernel/procs.h"
#include "core/kernel/programs_internal.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"

#include <dirent.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { RECORD_BYTES_MAX = 8192, ABANDONED_PASSES = 50, ABANDONED_WAIT_NS = 2000000 };

/* ---- records ---- */

void tn_program__name(uint64_t task, uint32_t attempt, char out[32])
{
    snprintf(out, 32, "%016" PRIx64 ".%04" PRIx32, task, attempt);
}

static char *record_path(const struct tn_program *program)
{
    char name[32];

    tn_program__name(program->task, program->attempt, name);
    return tn_fs_path("%s/programs/%s", program->programs->config.run_dir, name);
}

void tn_program__record(const struct tn_program *program)
{
    auto_free char *path = record_path(program);
    auto_json cJSON *record = cJSON_CreateObject();
    auto_free char *text = NULL;
    struct tn_err err = TN_ERR_INIT;

    if (program->programs->config.is_private)
        return;
    cJSON_AddStringToObject(record, "executor", program->executor);
    tn_json_add_u64(record, "task", program->task);
    cJSON_AddNumberToObject(record, "attempt", program->attempt);
    cJSON_AddNumberToObject(record, "pid", program->pid);
    tn_json_add_u64(record, "start_time", program->start_time);
    cJSON_AddNumberToObject(record, "enclosure", program->enclosure);
    cJSON_AddBoolToObject(record, "apart", program->apart);
    cJSON_AddStringToObject(record, "metadata", program->metadata_why);
    cJSON_AddStringToObject(record, "folder", program->folder);
    text = tn_json_print(record);
    if (tn_fs_write_atomic(path, text, strlen(text), 0600, &err) != 0)
        tn_warn("%s; a later tenond will not find this program", err.text);
}

void tn_program__forget(const struct tn_program *program)
{
    auto_free char *path = record_path(program);

    if (!program->programs->config.is_private)
        unlink(path);
}

/* ---- marks ---- */

/* INSTALLATION/l/PROGRAM, or INSTALLATION/pNAMESPACE.PID.START/PROGRAM in a private run, which ends with its tenond. */
char *tn_program__mark(const struct tn_program *program)
{
    const struct tn_programs_config *config = &program->programs->config;
    char name[32];

    tn_program__name(program->task, program->attempt, name);
    if (!config->is_private)
        return tn_fs_path("%s/l/%s", config->installation, name);
    return tn_fs_path("%s/p%llx.%d.%" PRIu64 "/%s", config->installation, tn_procs_namespace(), (int)getpid(),
                      tn_procs_start_time(getpid()), name);
}

static bool is_kept(const struct tn_programs *programs, const char *name)
{
    const struct tn_program *program;
    char own[32];

    LIST_FOREACH (program, &programs->list, next) {
        tn_program__name(program->task, program->attempt, own);
        if (strcmp(own, name) == 0)
            return true;
    }
    return false;
}

/* A tenond in another process id namespace is none that we could know to be gone. */
static bool is_abandoned(const struct tn_programs *programs, const char *mark)
{
    const struct tn_programs_config *config = &programs->config;
    const char *name = strrchr(mark, '/');
    const char *owner = name;
    unsigned long long space;
    uint64_t start;
    int pid;

    while (owner != NULL && owner > mark && owner[-1] != '/')
        owner--;
    if (name == NULL || owner == mark)
        return false;
    if (owner[0] == 'l')
        return !config->is_private && strncmp(mark, config->installation, (size_t)(owner - mark) - 1) == 0 &&
               config->installation[owner - mark - 1] == '\0' && !is_kept(programs, name + 1);
    return sscanf(owner, "p%llx.%d.%" SCNu64, &space, &pid, &start) == 3 && space == tn_procs_namespace() &&
           tn_procs_start_time(pid) != start;
}

struct abandoned {
    struct tn_programs *programs;
    size_t killed;
};

static void kill_if_abandoned(void *arg, pid_t pid, const char *mark)
{
    struct abandoned *abandoned = arg;

    if (!is_abandoned(abandoned->programs, mark) || kill(pid, SIGKILL) != 0)
        return;
    abandoned->killed++;
    tn_info("killed process %d of the program %s, whose tenond is gone", (int)pid, mark);
}

void tn_programs__kill_abandoned(struct tn_programs *programs)
{
    struct abandoned abandoned = {programs, 0};

    for (int i = 0; i < ABANDONED_PASSES; i++) {
        abandoned.killed = 0;
        tn_procs_marked(TN_PROGRAM_MARK, kill_if_abandoned, &abandoned);
        if (abandoned.killed == 0)
            return;
        nanosleep(&(struct timespec){0, ABANDONED_WAIT_NS}, NULL);
    }
}

/* ---- adoption ---- */

/* An adopted program's descriptor says that it is gone. */
static void on_gone(evutil_socket_t fd, short what, void *arg)
{
    struct tn_program *program = arg;

    event_del(program->gone);
    tn_program__first_process_ended(program);
}

/* A program that an earlier tenond started: still there if a process with that id and start time is. */
static void adopt(struct tn_programs *programs, const char *file)
{
    auto_buf struct tn_buf text = TN_BUF_INIT;
    auto_json cJSON *record = NULL;
    struct tn_err err = TN_ERR_INIT;
    struct tn_program *program;
    char name[32];

    if (tn_fs_read(file, RECORD_BYTES_MAX, &text, &err) == 0)
        record = tn_json_parse(text.data, text.len, file, &err);
    if (record == NULL) {
        tn_warn("%s; removed", err.text);
        unlink(file);
        return;
    }
    program = tn_program__new(programs, tn_json_string(record, "executor", "?"), tn_json_u64(record, "task", 0),
                              (uint32_t)tn_json_u64(record, "attempt", 0));
    program->pid = (pid_t)tn_json_u64(record, "pid", 0);
    program->start_time = tn_json_u64(record, "start_time", 0);
    tn_program__name(program->task, program->attempt, name);
    program->enclosure = (enum tn_enclosure)tn_json_u64(record, "enclosure", TN_ENCLOSURE_GROUP);
    program->apart = tn_json_bool(record, "apart", false);
    snprintf(program->metadata_why, sizeof(program->metadata_why), "%s", tn_json_string(record, "metadata", ""));
    free(program->folder);
    program->folder = tn_fs_path("%s", tn_json_string(record, "folder", ""));
    tn_cgroup_adopt(&programs->groups, name, &program->cgroup);
    program->pid_fd = program->pid > 1 ? (int)syscall(SYS_pidfd_open, program->pid, 0) : -1;
    program->alive = program->pid_fd >= 0 && tn_procs_start_time(program->pid) == program->start_time;
    if (program->alive) {
        program->gone = event_new(programs->config.base, program->pid_fd, EV_READ, on_gone, program);
        if (program->gone == NULL || event_add(program->gone, NULL) != 0)
            tn_fatal(3, "cannot watch process %d", (int)program->pid);
        tn_info("adopted the program of task %" PRIu64 " attempt %" PRIu32 " (pid %d)", program->task, program->attempt,
                (int)program->pid);
    } else {
        program->state = TN_PROGRAM_CLEARING;
        tn_programs__set_timer(program->timer, 0);
    }
}

int tn_programs__adopt_all(struct tn_programs *programs, struct tn_err *err)
{
    auto_free char *folder = tn_fs_path("%s/programs", programs->config.run_dir);
    auto_dir DIR *dir = NULL;
    struct dirent *entry;

    if (tn_fs_make_dirs(folder, 0700, err) != 0)
        return -1;
    dir = opendir(folder);
    if (dir == NULL)
        return tn_err_sys(err, errno, "cannot read the folder %s", folder);
    while ((entry = readdir(dir)) != NULL) {
        auto_free char *file = tn_fs_path("%s/%s", folder, entry->d_name);

        if (entry->d_name[0] != '.')
            adopt(programs, file);
    }
    return 0;
}
