/* tenon status: the Tenons that run here, their processes, and what confines each. */
#include "core/lib/buf.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "tools/commands.h"

#include <fcntl.h>
#include <getopt.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

enum { STATUS_BYTES = 1024 * 1024, PROC_BYTES = 65536 };

static const char help_text[] =
    "Usage: tenon status [--json] [--run DIR]\n"
    "\n"
    "Shows the Tenons of this user that run on this host (root sees those of all users): their "
    "processes, and what confines each.\n"
    "\n"
    "      --json     one object a line for each Tenon\n"
    "      --run DIR  only the one whose run folder this is\n"
    "  -h, --help     this text\n"
    "\n"
    "Exit status: 0 at least one runs, 3 none does, 2 the command line is wrong.\n"
    "What every process must have says `security.require` in tenon.yaml(5).\n";

/* Its tenond holds the lock of its run folder as long as it lives. */
static bool is_alive(const char *run)
{
    auto_free char *path = tn_fs_path("%s/lock", run);
    auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0;
}

/* Memory that the process alone needs, in KiB; 0 if that cannot be seen. */
static unsigned long memory_of(int pid)
{
    auto_free char *path = tn_fs_path("/proc/%d/status", pid);
    auto_buf struct tn_buf text = TN_BUF_INIT;
    const char *line;

    if (pid <= 0 || tn_fs_read(path, PROC_BYTES, &text, NULL) != 0 || text.len == 0)
        return 0;
    line = strstr(text.data, "\nRssAnon:");
    return line != NULL ? strtoul(line + strlen("\nRssAnon:"), NULL, 10) : 0;
}

static void print_lacks(const cJSON *mechanisms)
{
    const cJSON *item;

    cJSON_ArrayForEach (item, mechanisms) {
        bool exempt = tn_json_bool(item, "exempt", false);

        if (!tn_json_bool(item, "applied", false))
            printf("    %s %s: %s\n", exempt ? "not wanted: " : "not applied:", tn_json_string(item, "mechanism", "?"),
                   tn_json_string(item, "detail", ""));
    }
}

static void print_applied(const cJSON *mechanisms)
{
    const cJSON *item;
    const char *before = "    applied:     ";

    cJSON_ArrayForEach (item, mechanisms) {
        const char *name = tn_json_string(item, "mechanism", "?");

        if (!tn_json_bool(item, "applied", false))
            continue;
        printf("%s%s", before, name);
        if (strcmp(name, "user") == 0)
            printf(" %s", tn_json_string(item, "detail", ""));
        before = ", ";
    }
    if (before[0] == ',')
        putchar('\n');
}

static void print_process(const char *name, const cJSON *process)
{
    int pid = (int)tn_json_number(process, "pid", 0);
    unsigned long memory = memory_of(pid);
    const char *reason = tn_json_string(process, "reason", "");

    printf("  %-18s %s", name, tn_json_string(process, "state", "ready"));
    if (pid > 0)
        printf(", pid %d", pid);
    if (memory > 0)
        printf(", %.1f MB", (double)memory / 1024);
    if (tn_json_number(process, "restarts", 0) > 0)
        printf(", started again %.0f times", tn_json_number(process, "restarts", 0));
    if (tn_json_number(process, "refused", 0) > 0)
        printf(", %.0f messages refused", tn_json_number(process, "refused", 0));
    if (reason[0] != '\0')
        printf("; last end: %s", reason);
    putchar('\n');
    print_applied(tn_json_get(process, "mechanisms"));
    print_lacks(tn_json_get(process, "mechanisms"));
}

static void print_status(const cJSON *status, const char *run)
{
    const cJSON *process;

    printf("%s (%s), state in %s\n", run, tn_json_bool(status, "private", false) ? "of one run" : "lasting",
           tn_json_string(status, "state", "?"));
    print_process("tenond", tn_json_get(status, "tenond"));
    cJSON_ArrayForEach (process, tn_json_get(status, "processes"))
        print_process(tn_json_string(process, "name", "?"), process);
    printf("  jobs on this host  %s\n", tn_json_string(status, "programs", "?"));
}

/* False if nobody lives there. */
static bool show(const char *run, bool json)
{
    auto_free char *path = tn_fs_path("%s/status.json", run);
    auto_buf struct tn_buf text = TN_BUF_INIT;
    auto_json cJSON *status = NULL;
    auto_free char *line = NULL;
    struct tn_err err = TN_ERR_INIT;

    if (!is_alive(run))
        return false;
    if (tn_fs_read(path, STATUS_BYTES, &text, &err) != 0 ||
        (status = tn_json_parse(text.data, text.len, path, &err)) == NULL) {
        fprintf(stderr, "tenon: %s\n", err.text);
        return false;
    }
    if (!json) {
        print_status(status, run);
        return true;
    }
    line = tn_json_print(status);
    puts(line);
    return true;
}

/* Every run folder that we may look into is of a Tenon of this user, or we are root. */
static unsigned show_below(const char *pattern, bool json)
{
    glob_t found;
    unsigned count = 0;

    if (glob(pattern, 0, NULL, &found) != 0)
        return 0;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        auto_free char *run = tn_fs_path("%s", found.gl_pathv[i]);
        char *slash = strrchr(run, '/');
        struct stat info;

        *slash = '\0';
        /* Others can make such folders, too: they are not asked. */
        if (stat(run, &info) != 0 || (info.st_uid != geteuid() && geteuid() != 0))
            continue;
        count += show(run, json) ? 1 : 0;
    }
    globfree(&found);
    return count;
}

static unsigned show_all(bool json)
{
    const char *xdg = getenv("XDG_RUNTIME_DIR");
    auto_free char *here = xdg != NULL && xdg[0] == '/' ? tn_fs_path("%s/tenon/*/lock", xdg) : NULL;
    auto_free char *own =
        geteuid() == 0 ? tn_fs_path("/tmp/tenon-*/*/lock") : tn_fs_path("/tmp/tenon-%u/*/lock", (unsigned)geteuid());
    auto_free char *single =
        geteuid() == 0 ? tn_fs_path("/tmp/tenon-*-*/lock") : tn_fs_path("/tmp/tenon-%u-*/lock", (unsigned)geteuid());
    unsigned count = show_below("/run/tenon/lock", json);

    if (here != NULL && (geteuid() != 0 || strncmp(here, "/run/user/", 10) != 0))
        count += show_below(here, json);
    if (geteuid() == 0)
        count += show_below("/run/user/*/tenon/*/lock", json);
    return count + show_below(own, json) + show_below(single, json);
}

int command_status(int argc, char **argv)
{
    static const struct option names[] = {{"json", no_argument, NULL, 'j'},
                                          {"run", required_argument, NULL, 'r'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    const char *run = NULL;
    bool json = false;
    unsigned count;
    int option;

    opterr = 0;
    optind = 0;
    while ((option = getopt_long(argc, argv, "h", names, NULL)) != -1) {
        if (option == 'h') {
            fputs(help_text, stdout);
            return EXIT_SUCCEEDED;
        }
        if (option != 'j' && option != 'r') {
            fprintf(stderr,
                    "tenon: %s is no option of `tenon status`, or lacks its value\nTry `tenon status --help`.\n",
                    argv[optind - 1]);
            return EXIT_USAGE;
        }
        if (option == 'j')
            json = true;
        else
            run = optarg;
    }
    if (optind < argc) {
        fprintf(stderr, "tenon: `tenon status` takes no argument; \"%s\" is too much\nTry `tenon status --help`.\n",
                argv[optind]);
        return EXIT_USAGE;
    }
    count = run != NULL ? show(run, json) : show_all(json);
    if (count > 0)
        return EXIT_SUCCEEDED;
    if (run != NULL)
        fprintf(stderr, "tenon: no Tenon runs in %s\n", run);
    else
        fprintf(stderr, "tenon: no Tenon of this user runs here\n");
    return EXIT_INSTALLATION;
}
