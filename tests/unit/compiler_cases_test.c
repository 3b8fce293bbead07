/* Every folder beside this file under compiler/ is one case: input.yml, options.json (may be missing), and what comes
 * out of it: expected.yml (the processed plan; missing: no plan) and expected.txt (the diagnostics, one a line:
 * line:column severity code message; missing: none). The folder is the first argument, or found beside this file. */
#include "core/compiler/compiler.h"
#include "core/lib/cleanup.h"
#include "tests/unit/check.h"

#include <dirent.h>
#include <stdlib.h>

static char *read_file(const char *folder, const char *name, const char *file)
{
    auto_buf struct tn_buf path = TN_BUF_INIT;
    struct tn_buf text = TN_BUF_INIT;
    auto_file FILE *in = NULL;
    char part[4096];
    size_t len;

    tn_buf_addf(&path, "%s/%s/%s", folder, name, file);
    in = fopen(path.data, "r");
    if (in == NULL)
        return NULL;
    while ((len = fread(part, 1, sizeof(part), in)) > 0)
        tn_buf_add(&text, part, len);
    return tn_buf_steal(&text);
}

static const char *text_of(const cJSON *object, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));

    return text != NULL ? text : "";
}

static int number_of(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

    return item != NULL ? item->valueint : 0;
}

static void list_diagnostics(const cJSON *list, struct tn_buf *out)
{
    const cJSON *item;

    tn_buf_adds(out, "");
    cJSON_ArrayForEach (item, list) {
        const cJSON *note = cJSON_GetObjectItemCaseSensitive(item, "note");

        tn_buf_addf(out, "%d:%d %s %s %s", number_of(item, "line"), number_of(item, "column"),
                    text_of(item, "severity"), text_of(item, "code"), text_of(item, "message"));
        if (note != NULL)
            tn_buf_addf(out, " [%d:%d %s]", number_of(note, "line"), number_of(note, "column"),
                        text_of(note, "message"));
        tn_buf_adds(out, "\n");
    }
}

/* What `tenon config process` writes must mean the same when it is read again, if it has something to run. */
static void check_again(const char *yaml)
{
    cJSON *result = tn_compile(yaml, strlen(yaml), NULL);
    char *again = tn_plan_to_yaml(cJSON_GetObjectItemCaseSensitive(result, "plan"));

    CHECK_STR(again, yaml);
    free(again);
    cJSON_Delete(result);
}

static void check_case(const char *folder, const char *name)
{
    auto_free char *input = read_file(folder, name, "input.yml");
    auto_free char *wanted_yaml = read_file(folder, name, "expected.yml");
    auto_free char *wanted_text = read_file(folder, name, "expected.txt");
    auto_free char *options_text = read_file(folder, name, "options.json");
    auto_free char *yaml = NULL;
    auto_buf struct tn_buf text = TN_BUF_INIT;
    cJSON *json = cJSON_Parse(options_text != NULL ? options_text : "{}");
    struct tn_compile_options options = {
        .file_name = "input.yml",
        .workflow = cJSON_GetStringValue(cJSON_GetObjectItem(json, "workflow")),
        .job = cJSON_GetStringValue(cJSON_GetObjectItem(json, "job")),
        .parameters = cJSON_GetObjectItem(json, "parameters"),
        .pipeline_values = cJSON_GetObjectItem(json, "pipeline_values"),
    };
    cJSON *result;

    CHECK(input != NULL);
    CHECK(json != NULL);
    if (input == NULL)
        return;
    result = tn_compile(input, strlen(input), &options);
    yaml = tn_plan_to_yaml(cJSON_GetObjectItemCaseSensitive(result, "plan"));
    list_diagnostics(cJSON_GetObjectItemCaseSensitive(result, "diagnostics"), &text);
    fprintf(stderr, "case %s\n", name);
    CHECK_STR(yaml != NULL ? yaml : "", wanted_yaml != NULL ? wanted_yaml : "");
    CHECK_STR(text.data, wanted_text != NULL ? wanted_text : "");
    if (yaml != NULL && strstr(yaml, "\njobs: {}\n") == NULL)
        check_again(yaml);
    cJSON_Delete(result);
    cJSON_Delete(json);
}

/* The folder beside this source file, unless it is given. */
static char *case_folder(int argc, char **argv)
{
    struct tn_buf path = TN_BUF_INIT;

    tn_buf_adds(&path, argc > 1 ? argv[1] : TN_SOURCE_ROOT "/tests/unit/compiler");
    return tn_buf_steal(&path);
}

int main(int argc, char **argv)
{
    auto_free char *folder = case_folder(argc, argv);
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, NULL, alphasort);
    int cases = 0;

    if (count < 0) {
        fprintf(stderr, "no folder of cases at %s: give it as the first argument\n", folder);
        return 1;
    }
    for (int i = 0; i < count; i++) {
        if (entries[i]->d_name[0] != '.') {
            check_case(folder, entries[i]->d_name);
            cases++;
        }
        free(entries[i]);
    }
    free(entries);
    CHECK(cases > 10);
    return tn_check_result();
}
