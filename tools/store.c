/* tenon store: what the runs of this user keep. Works on the files themselves, also while jobs run. */
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/units.h"
#include "core/output/blobs.h"
#include "core/output/retention.h"
#include "tools/commands.h"
#include "tools/folders.h"
#include "tools/prune.h"
#include "tools/settings.h"
#include "tools/store_usage.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static const char help_text[] =
    "Usage: tenon store usage [--json]\n"
    "       tenon store verify [--json]\n"
    "       tenon store gc [--dry-run] [--json] [--settings FILE]\n"
    "\n"
    "What is kept on this host below $XDG_STATE_HOME/tenon (~/.local/state/tenon): logs, artifacts, test results,\n"
    "workspaces and source trees of each run, and the caches that all runs share. All of it may be used while jobs "
    "run.\n"
    "\n"
    "  usage          how much there is, by project and kind, and how old the oldest is\n"
    "  verify         reads every stored cache, workspace and source tree, and names those that are damaged\n"
    "  gc             removes what is past its time (tenon.yaml: store.keep), what nobody uses any more and what\n"
    "                 killed runs left. The same happens by itself whenever a run begins, and every hour of one\n"
    "\n"
    "      --dry-run        only says what would go\n"
    "      --settings FILE  settings of this host instead of ~/.config/tenon/tenon.yaml or /etc/tenon/tenon.yaml\n"
    "      --json           one JSON object a line; the last is the summary\n"
    "  -h, --help           this text\n"
    "\n"
    "Exit status: 0 done, 1 something is damaged, 2 the command line or the settings are wrong.\n";

struct store {
    char *home;
    bool json;
    bool dry;
    const char *settings;
    uint64_t count, bytes, damaged;
    cJSON *lasting; /* gc: run → true, of those that are not over */
};

/* Takes the object over. */
static void print_line(cJSON *line)
{
    auto_free char *text = tn_json_print(line);

    puts(text);
    cJSON_Delete(line);
}

static cJSON *typed(const char *type)
{
    cJSON *line = cJSON_CreateObject();

    cJSON_AddStringToObject(line, "type", type);
    return line;
}

/* ---- usage ---- */

static void print_row(const cJSON *row)
{
    char size[32];
    char day[32] = "";
    time_t oldest = (time_t)(tn_json_number(row, "oldest", 0) / 1000);
    struct tm utc;

    gmtime_r(&oldest, &utc);
    strftime(day, sizeof(day), "%Y-%m-%d %H:%M", &utc);
    printf("%-40s %-13s %8.0f %11s  %s\n", tn_json_string(row, "project", "?"), tn_json_string(row, "kind", "?"),
           tn_json_number(row, "count", 0),
           tn_units_size_text(tn_json_u64(row, "bytes", 0), size, sizeof(size)), day);
}

static int usage(struct store *store)
{
    auto_json cJSON *result = store_usage(store->home);
    const cJSON *row;
    char all[32];
    char disk[32];

    if (!store->json)
        printf("%-40s %-13s %8s %11s  %s\n", "PROJECT", "KIND", "FILES", "SIZE", "OLDEST (UTC)");
    cJSON_ArrayForEach (row, tn_json_get(result, "rows")) {
        if (store->json) {
            cJSON *line = cJSON_Duplicate(row, true);

            cJSON_AddStringToObject(line, "type", "usage");
            print_line(line);
        } else {
            print_row(row);
        }
    }
    if (store->json) {
        cJSON *line = typed("summary");

        cJSON_AddNumberToObject(line, "bytes", tn_json_number(result, "bytes", 0));
        cJSON_AddNumberToObject(line, "disk", tn_json_number(result, "disk", 0));
        cJSON_AddStringToObject(line, "folder", store->home);
        print_line(line);
    } else {
        printf("%s in all; %s on the disk, where equal files are stored once\n",
               tn_units_size_text(tn_json_u64(result, "bytes", 0), all, sizeof(all)),
               tn_units_size_text(tn_json_u64(result, "disk", 0), disk, sizeof(disk)));
    }
    return EXIT_SUCCEEDED;
}

/* ---- verify ---- */

static void say_damaged(struct store *store, const char *kind, const char *path, const char *reason)
{
    store->damaged++;
    if (store->json) {
        cJSON *line = typed("damaged");

        cJSON_AddStringToObject(line, "kind", kind);
        cJSON_AddStringToObject(line, "path", path);
        cJSON_AddStringToObject(line, "reason", reason);
        print_line(line);
    } else {
        printf("damaged %s: %s\n", kind, reason);
    }
}

/* A file that went meanwhile is no fault. */
static void verify_file(struct store *store, const char *kind, const char *path)
{
    struct tn_err err = TN_ERR_INIT;
    struct tn_zreader *reader;
    struct stat status;

    if (stat(path, &status) != 0)
        return;
    store->count++;
    store->bytes += (uint64_t)status.st_size;
    reader = tn_zreader_open(path, &err);
    if ((reader == NULL || tn_zreader_verify(reader, &err) != 0) && access(path, F_OK) == 0)
        say_damaged(store, kind, path, err.text);
    tn_zreader_close(reader);
}

static void verify_cache(void *arg, const char *scope, const struct tn_cache *cache)
{
    auto_free char *path = tn_fs_path("%s/%s", scope, cache->file);
    auto_free char *entry = tn_fs_path("%s/%s", scope, cache->entry);

    if (access(path, F_OK) != 0 && access(entry, F_OK) == 0)
        say_damaged(arg, "cache", entry, "its tar is missing");
    else
        verify_file(arg, "cache", path);
}

static void verify_entry(void *arg, const char *path, const struct tn_err *err)
{
    say_damaged(arg, "cache", path, err->text);
}

static void verify_folder(struct store *store, const char *kind, const char *folder)
{
    auto_dir DIR *dir = opendir(folder);
    const struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        auto_free char *path = tn_fs_path("%s/%s", folder, entry->d_name);
        size_t length = strlen(entry->d_name);

        if (length > 8 && strcmp(entry->d_name + length - 8, ".tar.zst") == 0)
            verify_file(store, kind, path);
    }
}

static void verify_run(void *arg, const char *state, uint64_t began, int lock)
{
    auto_free char *workspaces = tn_fs_path("%s/output/workspaces", state);
    auto_free char *sources = tn_fs_path("%s/output/sources", state);

    verify_folder(arg, "workspace", workspaces);
    verify_folder(arg, "source", sources);
}

static int verify(struct store *store)
{
    auto_free char *caches = tn_fs_path("%s/store/output/caches", store->home);
    auto_dir DIR *dir = opendir(caches);
    const struct dirent *entry;
    char size[32];

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        auto_free char *scope = tn_fs_path("%s/%s", caches, entry->d_name);

        if (strncmp(entry->d_name, "scope-", 6) == 0)
            tn_cache_each(scope, verify_cache, verify_entry, store);
    }
    prune_each_run(store->home, verify_run, store);
    if (store->json) {
        cJSON *line = typed("summary");

        cJSON_AddNumberToObject(line, "files", (double)store->count);
        cJSON_AddNumberToObject(line, "bytes", (double)store->bytes);
        cJSON_AddNumberToObject(line, "damaged", (double)store->damaged);
        print_line(line);
    } else {
        printf("%" PRIu64 " files (%s) read, %" PRIu64 " damaged\n", store->count,
               tn_units_size_text(store->bytes, size, sizeof(size)), store->damaged);
    }
    return store->damaged > 0 ? EXIT_FAILED : EXIT_SUCCEEDED;
}

/* ---- gc ---- */

static void on_removed(void *arg, const char *kind, const char *path, uint64_t bytes)
{
    struct store *store = arg;
    char size[32];

    store->count++;
    store->bytes += bytes;
    if (store->json) {
        cJSON *line = typed("removed");

        cJSON_AddStringToObject(line, "kind", kind);
        cJSON_AddStringToObject(line, "path", path);
        cJSON_AddNumberToObject(line, "bytes", (double)bytes);
        cJSON_AddBoolToObject(line, "dry_run", store->dry);
        print_line(line);
    } else {
        printf("%s %s: %s (%s)\n", store->dry ? "would remove" : "removed", kind, path,
               tn_units_size_text(bytes, size, sizeof(size)));
    }
}

static void note_lasting(void *arg, const char *state, uint64_t began, int lock)
{
    struct store *store = arg;
    auto_free char *output = tn_fs_path("%s/output", state);
    struct tn_layout layout;

    tn_layout_init(&layout, output, "");
    if (lock < 0)
        cJSON_AddTrueToObject(store->lasting, layout.run);
}

static bool is_over(void *arg, const char *run)
{
    const struct store *store = arg;

    return cJSON_GetObjectItemCaseSensitive(store->lasting, run) == NULL;
}

static int gc(struct store *store)
{
    auto_free char *folder = tn_fs_path("%s/store/output", store->home);
    auto_json cJSON *settings = NULL;
    struct tn_retention retention = {
        .now = (uint64_t)time(NULL), .dry = store->dry, .removed = on_removed, .arg = store};
    struct tn_err err = TN_ERR_INIT;
    struct tn_layout layout;
    char size[32];

    if (settings_load(store->settings, store->json, &settings, NULL, &err) != 0) {
        fprintf(stderr, "tenon: %s\n", err.text);
        return EXIT_USAGE;
    }
    retention.keep = tn_keep_read(tn_json_get(settings, "store"));
    tn_layout_init(&layout, "", folder);
    store->lasting = cJSON_CreateObject();
    prune_each_run(store->home, note_lasting, store);
    prune_runs(store->home, &retention);
    prune_run_folders(&retention);
    tn_retention_store(&retention, &layout, is_over);
    cJSON_Delete(store->lasting);
    if (store->json) {
        cJSON *line = typed("summary");

        cJSON_AddNumberToObject(line, "removed", (double)store->count);
        cJSON_AddNumberToObject(line, "bytes", (double)store->bytes);
        cJSON_AddBoolToObject(line, "dry_run", store->dry);
        print_line(line);
    } else {
        printf("%" PRIu64 " things %s, %s %s\n", store->count, store->dry ? "would go" : "removed",
               tn_units_size_text(store->bytes, size, sizeof(size)), store->dry ? "would be free" : "freed");
    }
    return EXIT_SUCCEEDED;
}

/* ---- the command line ---- */

static int wrong(const char *text, const char *word)
{
    fprintf(stderr, "tenon: ");
    fprintf(stderr, "%s%s", text, word != NULL ? word : "");
    fputs("\nTry `tenon store --help`.\n", stderr);
    return EXIT_USAGE;
}

/* 0: go on; else the exit code plus 1. */
static int read_options(struct store *store, int argc, char **argv)
{
    static const struct option names[] = {{"json", no_argument, NULL, 'j'},
                                          {"dry-run", no_argument, NULL, 'd'},
                                          {"help", no_argument, NULL, 'h'},
                                          {"settings", required_argument, NULL, 's'},
                                          {NULL, 0, NULL, 0}};
    int option;

    opterr = 0;
    optind = 0;
    while ((option = getopt_long(argc, argv, ":h", names, NULL)) != -1) {
        if (option == 'h') {
            fputs(help_text, stdout);
            return EXIT_SUCCEEDED + 1;
        }
        if (option == ':')
            return wrong("an argument is missing after ", argv[optind - 1]) + 1;
        if (option == '?')
            return wrong("`tenon store` has no option ", argv[optind - 1]) + 1;
        store->json = store->json || option == 'j';
        store->dry = store->dry || option == 'd';
        if (option == 's')
            store->settings = optarg;
    }
    return 0;
}

int command_store(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(struct store *store);
    } actions[] = {{"usage", usage}, {"verify", verify}, {"gc", gc}};
    struct store store = {0};
    int code = read_options(&store, argc, argv);

    if (code != 0)
        return code - 1;
    if (optind >= argc)
        return wrong("`tenon store` needs one of usage, verify and gc", NULL);
    if (optind + 1 < argc)
        return wrong("this is too much: ", argv[optind + 1]);
    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
        if (strcmp(argv[optind], actions[i].name) != 0)
            continue;
        if ((store.dry || store.settings != NULL) && actions[i].run != gc)
            return wrong("--dry-run and --settings belong to `tenon store gc`, not to ", actions[i].name);
        store.home = folders_home();
        code = actions[i].run(&store);
        free(store.home);
        return code;
    }
    return wrong("`tenon store` knows usage, verify and gc, not ", argv[optind]);
}
