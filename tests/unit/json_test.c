/* Typed access to bodies: wrong types give the default, 64-bit values survive. */
#include "core/lib/json.h"
#include "tests/unit/check.h"

#include <limits.h>
#include <stdlib.h>

static void test_access(void)
{
    const char text[] =
        "{\"s\":\"x\",\"n\":2.5,\"b\":true,\"big\":\"18446744073709551615\",\"over\":\"18446744073709551616\","
        "\"neg\":-1,\"junk\":\"12x\",\"sign\":\"+1\",\"empty\":\"\",\"list\":[\"7\",1e300],\"null\":null,"
        "\"huge\":1e300,\"low\":-1e300}";
    auto_json cJSON *json = tn_json_parse(text, strlen(text), "test", NULL);

    CHECK(json != NULL);
    CHECK_STR(tn_json_string(json, "s", "d"), "x");
    CHECK_STR(tn_json_string(json, "n", "d"), "d");
    CHECK_STR(tn_json_string(json, "S", "d"), "d"); /* names are case-sensitive */
    CHECK(tn_json_number(json, "n", 0) > 2.4 && tn_json_number(json, "s", 7) > 6.9);
    CHECK(tn_json_bool(json, "b", false) && tn_json_bool(json, "s", true) && !tn_json_bool(json, "null", false));
    CHECK(tn_json_u64(json, "big", 0) == UINT64_MAX);
    CHECK_INT(tn_json_u64(json, "over", 5), 5);
    CHECK_INT(tn_json_u64(json, "neg", 5), 5);
    CHECK_INT(tn_json_u64(json, "junk", 5), 5);
    CHECK_INT(tn_json_u64(json, "sign", 5), 5);
    CHECK_INT(tn_json_u64(json, "empty", 5), 5);
    CHECK_INT(tn_json_u64(json, "n", 5), 2);
    CHECK_INT(tn_json_u64(json, "huge", 5), 5);
    CHECK_INT(tn_json_item_u64(cJSON_GetArrayItem(tn_json_get(json, "list"), 0), 5), 7);
    CHECK_INT(tn_json_item_u64(cJSON_GetArrayItem(tn_json_get(json, "list"), 1), 5), 5);
    CHECK_INT(tn_json_item_u64(NULL, 5), 5);
    CHECK_INT(tn_json_int(json, "huge", 5), INT_MAX);
    CHECK_INT(tn_json_int(json, "low", 5), INT_MIN);
    CHECK_INT(tn_json_int(json, "s", 5), 5);
    CHECK(tn_json_get(json, "list") != NULL && tn_json_get(json, "s") == NULL && tn_json_get(NULL, "s") == NULL);
    CHECK_STR(tn_json_string(NULL, "s", "d"), "d");
}

static void check_refused(const char *text, size_t length)
{
    struct tn_err err = TN_ERR_INIT;
    char want[100];

    CHECK(tn_json_parse(text, length, "LEASE", &err) == NULL);
    snprintf(want, sizeof(want), "LEASE: expected a JSON object in %zu bytes of body", length);
    CHECK_STR(err.text, want);
    CHECK_INT(err.code, TN_ERR_PROTOCOL);
}

int main(void)
{
    auto_json cJSON *empty = tn_json_parse("", 0, "test", NULL);
    auto_json cJSON *out = cJSON_CreateObject();
    static char deep[5000];
    char *text;

    test_access();
    CHECK(cJSON_IsObject(empty));
    check_refused("[1]", 3);
    check_refused("{\"a\":", 5);
    check_refused("{\"a\":1}", 6);
    memset(deep, '[', sizeof(deep)); /* nesting is bounded */
    memcpy(deep, "{\"a\":", 5);
    check_refused(deep, sizeof(deep));
    tn_json_add_u64(out, "id", UINT64_MAX);
    text = tn_json_print(out);
    CHECK_STR(text, "{\"id\":\"18446744073709551615\"}");
    free(text);
    return tn_check_result();
}
