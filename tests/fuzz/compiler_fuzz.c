/* libFuzzer target: whatever the bytes are, the compiler returns, within its limits and without a leak: a plan or a
 * reason. Diagnostics can be rendered, and a plan can be written as YAML, which compiles again.
 *
 * What stands before a NUL is the JSON of the request: {"parameters", "pipeline_values", "workflow", "job"}.
 *
 * decodes: core/compiler/builtin_steps.c core/compiler/compiler.c core/compiler/context.c core/compiler/definitions.c
 *          core/compiler/diag.c core/compiler/diag_render.c core/compiler/executor.c core/compiler/fields.c
 *          core/compiler/filters.c core/compiler/jobs.c core/compiler/logic.c core/compiler/matrix.c
 *          core/compiler/params.c core/compiler/pipeline.c core/compiler/plan_yaml.c core/compiler/regex.c
 *          core/compiler/requires.c core/compiler/source.c core/compiler/steps.c core/compiler/subst.c
 *          core/compiler/suggest.c core/compiler/triggers.c core/compiler/view.c core/compiler/workflows.c
 *          core/compiler/yaml_merge.c core/compiler/yaml_tree.c
 * max_len: 8192 */
#include "core/compiler/compiler.h"
#include "core/lib/json.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_process(const cJSON *plan)
{
    struct tn_compile_options options = {.file_name = "processed.yml"};
    char *text = tn_plan_to_yaml(plan);
    cJSON *again = text != NULL ? tn_compile(text, strlen(text), &options) : NULL;

    if (!cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(again, "plan")))
        abort();
    cJSON_Delete(again);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tn_buf out = TN_BUF_INIT;
    const uint8_t *config = size > 0 ? memchr(data, '\0', size) : NULL;
    cJSON *request = config != NULL ? tn_json_parse(data, (size_t)(config - data), "COMPILE", NULL)
                                    : cJSON_Parse("{\"pipeline_values\": {\"git.branch\": \"main\", \"number\": 3}}");
    struct tn_compile_options options = {.file_name = "fuzz.yml",
                                         .workflow = tn_json_string(request, "workflow", NULL),
                                         .job = tn_json_string(request, "job", NULL),
                                         .parameters = tn_json_get(request, "parameters"),
                                         .pipeline_values = tn_json_get(request, "pipeline_values")};
    size_t skip = config != NULL && request != NULL ? (size_t)(config - data) + 1 : 0;
    cJSON *result = tn_compile((const char *)data + skip, size - skip, &options);
    const cJSON *plan = cJSON_GetObjectItemCaseSensitive(result, "plan");
    const cJSON *diagnostics = cJSON_GetObjectItemCaseSensitive(result, "diagnostics");

    /* Either a plan or a reason. */
    if (cJSON_IsNull(plan) && cJSON_GetArraySize(diagnostics) == 0)
        abort();
    tn_diagnostics_render(diagnostics, &out, true);
    /* That nothing is to run cannot be said in a config. */
    if (cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(plan, "workflows")) > 0)
        check_process(plan);
    tn_buf_free(&out);
    cJSON_Delete(result);
    cJSON_Delete(request);
    return 0;
}
