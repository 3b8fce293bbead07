#include "tools/config_text.h"

#include "core/compiler/compiler.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "tools/view_ops.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* `path` as seen from the current folder if it lies below it. */
static char *shown(const char *path)
{
    auto_free char *here = getcwd(NULL, 0);
    size_t length = here != NULL ? strlen(here) : 0;

    if (length > 1 && strncmp(path, here, length) == 0 && path[length] == '/')
        return tn_fs_path("%s", path + length + 1);
    return tn_fs_path("%s", path);
}

int config_read(struct config_text *config, const struct options *options, const struct project *project,
                const char *folder, struct tn_err *err)
{
    memset(config, 0, sizeof(*config));
    if (options->config != NULL) {
        config->file = tn_fs_path("%s", options->config);
    } else {
        auto_free char *found = project_config(project, folder, err);

        if (found == NULL)
            return -1;
        config->file = shown(found);
    }
    if (tn_fs_read(config->file, CONFIG_BYTES_MAX, &config->text, err) != 0) {
        err->code = TN_ERR_USAGE;
        return -1;
    }
    tn_buf_adds(&config->text, "");
    if (memchr(config->text.data, '\0', config->text.len) != NULL)
        return tn_err_set(err, TN_ERR_USAGE, "%s: there is a NUL byte at offset %zu; a config is text", config->file,
                          strlen(config->text.data));
    return 0;
}

void config_free(struct config_text *config)
{
    free(config->file);
    tn_buf_free(&config->text);
    memset(config, 0, sizeof(*config));
}

static cJSON *pipeline_values(const struct project *project, const char *pipeline)
{
    cJSON *values = cJSON_CreateObject();
    char text[32];
    time_t now = time(NULL);
    struct tm utc;

    gmtime_r(&now, &utc);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc);
    cJSON_AddStringToObject(values, "id", pipeline);
    cJSON_AddStringToObject(values, "git.branch", project->branch);
    cJSON_AddStringToObject(values, "git.revision", project->revision);
    cJSON_AddStringToObject(values, "git.tag", project->tag);
    cJSON_AddStringToObject(values, "project.slug", project->slug);
    cJSON_AddStringToObject(values, "project.git_url", project->repository_url);
    cJSON_AddStringToObject(values, "project.type",
                            strncmp(project->slug, "gh/", 3) == 0   ? "github"
                            : strncmp(project->slug, "bb/", 3) == 0 ? "bitbucket"
                                                                    : "local");
    cJSON_AddStringToObject(values, "trigger_source", "local");
    cJSON_AddStringToObject(values, "trigger.received_at", text);
    return values;
}

cJSON *config_request(const struct config_text *config, const struct options *options, const struct project *project,
                      const char *pipeline)
{
    cJSON *body = cJSON_CreateObject();

    cJSON_AddStringToObject(body, "config", config->text.data);
    cJSON_AddStringToObject(body, "file", config->file);
    if (options->workflow != NULL)
        cJSON_AddStringToObject(body, "workflow", options->workflow);
    if (options->job != NULL)
        cJSON_AddStringToObject(body, "job", options->job);
    cJSON_AddItemToObject(body, "parameters", pairs_json(&options->parameters));
    cJSON_AddItemToObject(body, "pipeline_values", pipeline_values(project, pipeline));
    return body;
}

static bool colour_wanted(void)
{
    const char *no_colour = getenv("NO_COLOR");

    return isatty(STDERR_FILENO) && (no_colour == NULL || no_colour[0] == '\0');
}

void config_report(const cJSON *diagnostics, bool json)
{
    auto_buf struct tn_buf text = TN_BUF_INIT;
    const cJSON *item;
    struct tn_err err = TN_ERR_INIT;

    if (!json) {
        tn_diagnostics_render(diagnostics, &text, colour_wanted());
        if (text.len > 0 && tn_fs_write_all(STDERR_FILENO, text.data, text.len, &err) != 0)
            return; /* nowhere left to say it */
        return;
    }
    cJSON_ArrayForEach (item, diagnostics) {
        cJSON *line = cJSON_Duplicate(item, true);
        char *printed;

        cJSON_AddStringToObject(line, "type", "diagnostic");
        printed = tn_json_print(line);
        tn_buf_adds(&text, printed);
        tn_buf_adds(&text, "\n");
        free(printed);
        cJSON_Delete(line);
    }
    view_ops__write(text.data, text.len);
}

bool config_has_errors(const cJSON *diagnostics)
{
    const cJSON *item;

    cJSON_ArrayForEach (item, diagnostics)
        if (strcmp(tn_json_string(item, "severity", "error"), "error") == 0)
            return true;
    return false;
}
