#include "tools/settings.h"

#include "core/compiler/settings.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/settings.h"
#include "tools/commands.h"
#include "tools/config_text.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_BYTES = 1024 * 1024 };

static const char system_file[] = "/etc/tenon/tenon.yaml";

static const char help_text[] = "Usage: tenon settings [FILE] [--json]\n"
                                "\n"
                                "Checks the settings of this host and prints what counts, defaults included: durations "
                                "in seconds, sizes in bytes.\n"
                                "Without FILE, ~/.config/tenon/tenon.yaml ($XDG_CONFIG_HOME) or /etc/tenon/tenon.yaml "
                                "is read; tenon.yaml(5) tells what\n"
                                "may stand there.\n"
                                "\n"
                                "      --json    on one line\n"
                                "  -h, --help    this text\n"
                                "\n"
                                "Exit status: 0 they are right, 2 they are wrong or the command line is.\n";

/* The file to read, which the caller frees, or NULL. */
static char *find(const char *given)
{
    const char *xdg = getenv("XDG_CONFIG_HOME");
    const char *home = getenv("HOME");
    char *path = NULL;

    if (given != NULL)
        return tn_fs_path("%s", given);
    if (xdg != NULL && xdg[0] == '/')
        path = tn_fs_path("%s/tenon/tenon.yaml", xdg);
    else if (home != NULL && home[0] == '/')
        path = tn_fs_path("%s/.config/tenon/tenon.yaml", home);
    if (path != NULL && access(path, F_OK) == 0)
        return path;
    free(path);
    return access(system_file, F_OK) == 0 ? tn_fs_path("%s", system_file) : NULL;
}

int settings_load(const char *given, bool json, cJSON **out, char **file, struct tn_err *err)
{
    auto_free char *path = find(given);
    auto_buf struct tn_buf text = TN_BUF_INIT;
    auto_json cJSON *result = NULL;
    cJSON *settings;

    *out = NULL;
    if (path == NULL)
        return 0;
    if (tn_fs_read(path, FILE_BYTES, &text, err) != 0) {
        tn_err_wrap(err, "settings");
        err->code = TN_ERR_USAGE;
        return -1;
    }
    result = tn_settings_compile(text.data != NULL ? text.data : "", text.len, path, getenv("HOME"));
    config_report(tn_json_get(result, "diagnostics"), json);
    settings = cJSON_DetachItemFromObjectCaseSensitive(result, "settings");
    if (!cJSON_IsObject(settings)) {
        cJSON_Delete(settings);
        return tn_err_set(err, TN_ERR_USAGE, "the settings in %s are wrong", path);
    }
    *out = settings;
    if (file != NULL)
        *file = steal_ptr(&path);
    return 0;
}

int settings_hand_over(const cJSON *settings, const char *run, char **folder, struct tn_err *err)
{
    static const char *const roles[] = {"executor-docker", "executor-machine", "output", "scheduler", "tenond"};

    *folder = tn_fs_path("%s/settings", run);
    if (tn_fs_make_dirs(*folder, 0700, err) != 0)
        return -1;
    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
        auto_json cJSON *part = tn_settings_select(settings, tn_settings_receiver(roles[i]));
        auto_free char *text = tn_json_print(part);
        auto_free char *path = tn_fs_path("%s/%s.json", *folder, roles[i]);

        if (tn_fs_write_atomic(path, text, strlen(text), 0600, err) != 0)
            return -1;
    }
    return 0;
}

static int show(const char *given, bool json)
{
    struct tn_err err = TN_ERR_INIT;
    auto_free char *file = NULL;
    auto_json cJSON *settings = NULL;
    auto_free char *text = NULL;

    if (settings_load(given, json, &settings, &file, &err) != 0) {
        fprintf(stderr, "tenon: %s\n", err.text);
        return EXIT_USAGE;
    }
    if (settings == NULL)
        settings = cJSON_CreateObject();
    tn_settings_fill(settings, ~0u);
    text = json ? tn_json_print(settings) : cJSON_Print(settings);
    if (!json)
        printf("# %s\n", file != NULL ? file : "no file: all as by default");
    puts(text != NULL ? text : "");
    return EXIT_SUCCEEDED;
}

int command_settings(int argc, char **argv)
{
    static const struct option names[] = {
        {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    bool json = false;
    int option;

    opterr = 0;
    optind = 0;
    while ((option = getopt_long(argc, argv, "h", names, NULL)) != -1) {
        if (option == 'h') {
            fputs(help_text, stdout);
            return EXIT_SUCCEEDED;
        }
        if (option != 'j') {
            fprintf(stderr, "tenon: %s is no option of `tenon settings`\nTry `tenon settings --help`.\n",
                    argv[optind - 1]);
            return EXIT_USAGE;
        }
        json = true;
    }
    if (optind + 1 < argc) {
        fprintf(stderr, "tenon: `tenon settings` takes one FILE; \"%s\" is too much\nTry `tenon settings --help`.\n",
                argv[optind + 1]);
        return EXIT_USAGE;
    }
    return show(argv[optind], json);
}
