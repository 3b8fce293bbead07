/* libFuzzer target: what tenond reads: an executor's manifest, the operator's settings, and the bodies in which an
 * executor asks for programs. The first byte chooses.
 *
 * decodes: core/kernel/manifest.c core/kernel/operator.c core/kernel/strings.c core/lib/json.c
 * max_len: 8192 */
#include "core/kernel/manifest.h"
#include "core/kernel/operator.h"
#include "core/kernel/strings.h"
#include "core/lib/json.h"
#include "core/lib/settings.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_manifest(const char *text, size_t size)
{
    struct tn_err err = TN_ERR_INIT;
    struct tn_manifest *manifest = tn_manifest_parse(text, size, "/folder", "/folder/manifest.json", &err);

    if (manifest == NULL ? err.text[0] == '\0' : strchr(manifest->name, '/') != NULL || manifest->program[0] != '/')
        abort();
    if (manifest != NULL && tn_manifest_program(manifest, "agent") != NULL &&
        strcmp(tn_manifest_program(manifest, "agent")->name, "agent") != 0)
        abort();
    tn_manifest_free(manifest);
}

static void check_command(char **command, struct tn_err *err)
{
    size_t count = 0;

    if (command == NULL && err->text[0] == '\0')
        abort();
    while (command != NULL && command[count] != NULL)
        count++;
    if (command != NULL && (count == 0 || strchr(command[0], '/') == NULL))
        abort();
    tn_strings_free(command);
}

/* The settings and a PROGRAM_START, one object for both. */
static void read_request(const char *text, size_t size)
{
    struct tn_manifest_program program = {"agent", "/programs/agent", "machine", "--user"};
    auto_json cJSON *body = tn_json_parse(text, size, "PROGRAM_START", NULL);
    auto_json cJSON *settings = body != NULL ? tn_settings_select(body, TN_SETTINGS_KERNEL) : NULL;
    struct tn_err err = TN_ERR_INIT;
    char **environment;

    if (body == NULL)
        return;
    tn_settings_fill(settings, TN_SETTINGS_KERNEL);
    check_command(tn_operator_command(settings, &program, tn_json_get(body, "arguments"), &err), &err);
    environment = tn_strings_environment(tn_json_get(body, "environment"));
    for (size_t i = 0; environment != NULL && environment[i] != NULL; i++)
        if (strchr(environment[i], '=') == NULL || environment[i][0] == '=')
            abort();
    tn_strings_free(environment);
    if (tn_json_u64(body, "grace_ms", 7) > 7 && tn_json_number(body, "grace_ms", 8) < 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] % 2 == 0)
        read_manifest((const char *)data + 1, size - 1);
    else
        read_request((const char *)data + 1, size - 1);
    return 0;
}
