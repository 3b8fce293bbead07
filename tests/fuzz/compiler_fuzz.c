/* Whatever the bytes are, the compiler returns, within its limits and without a leak: a plan or a reason. Diagnostics
 * can be rendered, and a plan can be written as YAML. */
#include "core/compiler/compiler.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_process(const cJSON *plan)
{
    char *text = tn_plan_to_yaml(plan);

    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tn_buf out = TN_BUF_INIT;
    cJSON *values = cJSON_Parse("{\"git.branch\": \"main\", \"number\": 3}");
    struct tn_compile_options options = {.file_name = "fuzz.yml", .pipeline_values = values};
    cJSON *result = tn_compile((const char *)data, size, &options);
    const cJSON *plan = cJSON_GetObjectItemCaseSensitive(result, "plan");
    const cJSON *diagnostics = cJSON_GetObjectItemCaseSensitive(result, "diagnostics");

    /* Either a plan or a reason. */
    if (cJSON_IsNull(plan) && cJSON_GetArraySize(diagnostics) == 0)
        abort();
    tn_diagnostics_render(diagnostics, &out, true);
    if (cJSON_IsObject(plan))
        check_process(plan);
    tn_buf_free(&out);
    cJSON_Delete(result);
    cJSON_Delete(values);
    return 0;
}
