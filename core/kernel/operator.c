#include "core/kernel/operator.h"
#include "core/kernel/strings.h"
#include "core/lib/buf.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/settings.h"

enum { SETTINGS_BYTES_MAX = 1024 * 1024 };

cJSON *tn_operator_settings(const char *folder, struct tn_err *err)
{
    auto_free char *file = tn_fs_path("%s/tenond.json", folder);
    auto_buf struct tn_buf text = TN_BUF_INIT;
    auto_json cJSON *settings = NULL;

    if (folder[0] == '\0') {
        settings = cJSON_CreateObject();
    } else {
        if (tn_fs_read(file, SETTINGS_BYTES_MAX, &text, err) != 0)
            return NULL;
        settings = tn_json_parse(text.data, text.len, file, err);
        if (settings == NULL)
            return NULL;
    }
    tn_settings_fill(settings, TN_SETTINGS_KERNEL);
    return steal_ptr(&settings);
}

static void add_text(cJSON *list, const char *text)
{
    cJSON_AddItemToArray(list, cJSON_CreateString(text));
}

/* `words` gets the whole of the command but its first word, which is returned. */
static char *compose(const cJSON *section, const struct tn_manifest_program *program, const cJSON *arguments,
                     cJSON *words, struct tn_err *err)
{
    const cJSON *prefix = tn_json_get(section, "command_prefix");
    const cJSON *item;
    char *first = NULL;

    cJSON_ArrayForEach (item, prefix) {
        if (item != prefix->child) {
            add_text(words, cJSON_IsString(item) ? item->valuestring : "");
            continue;
        }
        first = tn_fs_find_program(cJSON_IsString(item) ? item->valuestring : "", err);
        if (first == NULL) {
            tn_err_wrap(err, "%s.command_prefix", program->settings);
            return NULL;
        }
    }
    if (first != NULL)
        add_text(words, program->path);
    cJSON_ArrayForEach (item, arguments)
        cJSON_AddItemToArray(words, cJSON_Duplicate(item, false));
    return first != NULL ? first : tn_fs_path("%s", program->path);
}

char **tn_operator_command(const cJSON *settings, const struct tn_manifest_program *program, const cJSON *arguments,
                           struct tn_err *err)
{
    const cJSON *section = program->settings != NULL ? tn_json_get(settings, program->settings) : NULL;
    const char *user = tn_json_string(section, "run_as", "");
    auto_json cJSON *words = cJSON_CreateArray();
    auto_free char *first = compose(section, program, arguments, words, err);
    char **command;

    if (first == NULL)
        return NULL;
    if (user[0] != '\0') {
        if (program->user_option == NULL) {
            tn_err_set(err, TN_ERR_CONFIG, "%s.run_as: the program %s cannot run as another user", program->settings,
                       program->name);
            return NULL;
        }
        add_text(words, program->user_option);
        add_text(words, user);
    }
    command = tn_strings_arguments(first, words);
    if (command == NULL)
        tn_err_set(err, TN_ERR_USAGE, "expected arguments: [text, …]");
    return command;
}

int tn_operator_check(const cJSON *settings, const struct tn_manifest_program *program, uid_t self, struct tn_err *err)
{
    const cJSON *section = program->settings != NULL ? tn_json_get(settings, program->settings) : NULL;
    const char *user = tn_json_string(section, "run_as", "");
    char **command = tn_operator_command(settings, program, NULL, err);

    tn_strings_free(command);
    if (command == NULL)
        return -1;
    if (user[0] != '\0' && self != 0)
        return tn_err_set(err, TN_ERR_CONFIG,
                          "%s.run_as: only root can run jobs as user \"%s\": Tenon was started by user %u",
                          program->settings, user, (unsigned)self);
    return 0;
}
