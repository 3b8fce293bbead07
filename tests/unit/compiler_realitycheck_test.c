/* Reality Check's config compiles, and its seven workflows hold what they should. Its file is the first argument, or
 * ../shared/realitycheck/config.yml from the repository's root; skipped where it is missing. */
#include "core/compiler/compiler.h"
#include "core/lib/cleanup.h"
#include "tests/unit/check.h"

#include <stdlib.h>

static char *read_config(int argc, char **argv)
{
    struct tn_buf text = TN_BUF_INIT;
    auto_file FILE *in = fopen(argc > 1 ? argv[1] : TN_SOURCE_ROOT "/../shared/realitycheck/config.yml", "r");
    char part[4096];
    size_t len;

    if (in == NULL)
        return NULL;
    while ((len = fread(part, 1, sizeof(part), in)) > 0)
        tn_buf_add(&text, part, len);
    return tn_buf_steal(&text);
}

static const cJSON *find(const cJSON *list, const char *name)
{
    const cJSON *item;

    cJSON_ArrayForEach (item, list) {
        const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "name"));

        if (text != NULL && strcmp(text, name) == 0)
            return item;
    }
    return NULL;
}

static const cJSON *find_job(const cJSON *plan, const char *workflow, const char *job)
{
    const cJSON *found = find(cJSON_GetObjectItem(plan, "workflows"), workflow);

    return find(cJSON_GetObjectItem(found, "jobs"), job);
}

static const char *field(const cJSON *object, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}

static void check_workflow(const cJSON *plan, const char *name, int jobs)
{
    const cJSON *workflow = find(cJSON_GetObjectItem(plan, "workflows"), name);

    CHECK(workflow != NULL);
    CHECK_INT(cJSON_GetArraySize(cJSON_GetObjectItem(workflow, "jobs")), jobs);
}

static void check_job(const cJSON *plan, const char *workflow, const char *name, const char *kind, const char *class,
                      int steps)
{
    const cJSON *job = find_job(plan, workflow, name);

    CHECK(job != NULL);
    CHECK_STR(field(job, "kind"), kind);
    CHECK_STR(field(job, "resource_class"), class);
    CHECK_INT(cJSON_GetArraySize(cJSON_GetObjectItem(job, "steps")), steps);
}

static void check_plan(const cJSON *plan)
{
    const cJSON *job = find_job(plan, "feature_jobs", "read_workspace");
    const cJSON *step;

    CHECK_INT(cJSON_GetArraySize(cJSON_GetObjectItem(plan, "workflows")), 7);
    check_workflow(plan, "docker_resource_class_jobs", 5);
    check_workflow(plan, "windows_resource_class_jobs", 4);
    check_workflow(plan, "vm_jobs", 4);
    check_workflow(plan, "aws_jobs", 2);
    check_workflow(plan, "gcp_jobs", 2);
    check_workflow(plan, "feature_jobs", 6);
    check_workflow(plan, "other_jobs", 1);
    check_job(plan, "docker_resource_class_jobs", "executor_resource_class-docker-medium+", "docker", "medium+", 2);
    check_job(plan, "windows_resource_class_jobs", "executor_resource_class-windows-windows.large", "windows",
              "windows.large", 2);
    check_job(plan, "vm_jobs", "machine", "machine", "medium", 2);
    check_job(plan, "vm_jobs", "docker_layer_caching", "docker", "medium", 5);
    check_job(plan, "aws_jobs", "aws_arm", "arm", "arm.medium", 2);
    check_job(plan, "feature_jobs", "save_and_restore_cache", "docker", "medium", 8);
    check_job(plan, "other_jobs", "env-subst-example", "docker", "small", 5);
    CHECK_STR(field(job, "working_directory"), "~/foo/bar");
    CHECK_STR(field(cJSON_GetArrayItem(cJSON_GetObjectItem(job, "requires"), 0), "job"), "write_workspace");
    job = find_job(plan, "feature_jobs", "contexts");
    CHECK_STR(cJSON_GetStringValue(cJSON_GetArrayItem(cJSON_GetObjectItem(job, "contexts"), 0)), "org-global");
    job = find_job(plan, "vm_jobs", "machine_dlc");
    CHECK(cJSON_IsTrue(cJSON_GetObjectItem(cJSON_GetObjectItem(job, "machine"), "docker_layer_caching")));
    /* Through `<<: *basic_docker_build`. */
    step = cJSON_GetArrayItem(cJSON_GetObjectItem(job, "steps"), 2);
    CHECK_STR(field(step, "name"), "Build a really basic docker image");
    CHECK_INT(cJSON_GetObjectItem(step, "line")->valueint, 241);
}

int main(int argc, char **argv)
{
    auto_free char *text = read_config(argc, argv);
    auto_free char *yaml = NULL;
    cJSON *result;

    if (text == NULL) {
        fprintf(stderr, "skipped: ../shared/realitycheck/config.yml is not there\n");
        return 77;
    }
    result = tn_compile(text, strlen(text), NULL);
    CHECK_INT(cJSON_GetArraySize(cJSON_GetObjectItem(result, "diagnostics")), 0);
    check_plan(cJSON_GetObjectItem(result, "plan"));
    yaml = tn_plan_to_yaml(cJSON_GetObjectItem(result, "plan"));
    cJSON_Delete(result);
    result = tn_compile(yaml, strlen(yaml), NULL);
    CHECK_INT(cJSON_GetArraySize(cJSON_GetObjectItem(result, "diagnostics")), 0);
    CHECK_INT(cJSON_GetArraySize(cJSON_GetObjectItem(cJSON_GetObjectItem(result, "plan"), "workflows")), 7);
    cJSON_Delete(result);
    return tn_check_result();
}
