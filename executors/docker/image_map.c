#include "executors/docker/image_map.h"

#include "core/lib/buf.h"
#include "core/lib/json.h"
#include "core/lib/log.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* A pattern of a slip of the operator's must not hold up all jobs. */
enum { MATCH_STEPS = 100000, MATCH_DEPTH = 1000, GROUPS_MAX = 10 };

enum rule_kind { RULE_IMAGE, RULE_PREFIX, RULE_PATTERN };

struct rule {
    enum rule_kind kind;
    char *text;               /* owned */
    char *use;                /* owned */
    struct tn_image_ref full; /* of an `image` that is one */
    bool has_full;
    pcre2_code *code; /* owned; of a pattern */
};

struct tn_image_map {
    struct rule *rules; /* owned */
    size_t count;
    pcre2_match_context *limits; /* owned */
    pcre2_match_data *match;     /* owned */
};

static char *copy(const char *text)
{
    char *copied = strdup(text);

    if (copied == NULL)
        tn_fatal(3, "out of memory: the names of images");
    return copied;
}

static int compile(struct rule *rule, size_t number, struct tn_err *err)
{
    char reason[200];
    PCRE2_SIZE offset;
    int code;

    rule->code = pcre2_compile((PCRE2_SPTR)rule->text, PCRE2_ZERO_TERMINATED, PCRE2_ANCHORED | PCRE2_ENDANCHORED, &code,
                               &offset, NULL);
    if (rule->code != NULL)
        return 0;
    pcre2_get_error_message(code, (PCRE2_UCHAR *)reason, sizeof(reason));
    return tn_err_set(err, TN_ERR_CONFIG,
                      "docker.images, entry %zu: the pattern \"%.200s\" is wrong at character %zu: %s; correct it in "
                      "tenon.yaml",
                      number, rule->text, (size_t)offset + 1, reason);
}

static int take_rule(struct rule *rule, const cJSON *entry, size_t number, struct tn_err *err)
{
    static const char *const keys[] = {"image", "prefix", "pattern"};
    const char *use = tn_json_string(entry, "use", NULL);

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]) && rule->text == NULL; i++) {
        const char *text = tn_json_string(entry, keys[i], NULL);

        if (text != NULL)
            *rule = (struct rule){.kind = (enum rule_kind)i, .text = copy(text)};
    }
    if (rule->text == NULL || use == NULL)
        return tn_err_set(err, TN_ERR_CONFIG,
                          "docker.images, entry %zu: expected \"use\" and one of \"image\", \"prefix\" and \"pattern\"",
                          number);
    rule->use = copy(use);
    if (rule->kind == RULE_IMAGE)
        rule->has_full = tn_image_ref_parse(rule->text, &rule->full, NULL) == 0;
    return rule->kind == RULE_PATTERN ? compile(rule, number, err) : 0;
}

struct tn_image_map *tn_image_map_new(const cJSON *rules, struct tn_err *err)
{
    struct tn_image_map *map = calloc(1, sizeof(*map));
    size_t count = (size_t)cJSON_GetArraySize(rules);
    const cJSON *entry;

    if (map == NULL || (map->rules = calloc(count + 1, sizeof(*map->rules))) == NULL ||
        (map->limits = pcre2_match_context_create(NULL)) == NULL ||
        (map->match = pcre2_match_data_create(GROUPS_MAX, NULL)) == NULL)
        tn_fatal(3, "out of memory: the names of images");
    pcre2_set_match_limit(map->limits, MATCH_STEPS);
    pcre2_set_depth_limit(map->limits, MATCH_DEPTH);
    cJSON_ArrayForEach (entry, rules) {
        map->count++;
        if (take_rule(&map->rules[map->count - 1], entry, map->count, err) != 0) {
            tn_image_map_free(map);
            return NULL;
        }
    }
    return map;
}

void tn_image_map_free(struct tn_image_map *map)
{
    if (map == NULL)
        return;
    for (size_t i = 0; i < map->count; i++) {
        free(map->rules[i].text);
        free(map->rules[i].use);
        pcre2_code_free(map->rules[i].code);
    }
    free(map->rules);
    pcre2_match_data_free(map->match);
    pcre2_match_context_free(map->limits);
    free(map);
}

/* `use` with the groups of the last match; a group that took part in nothing is empty. */
static void expand(const struct tn_image_map *map, const char *use, const char *text, int matched, struct tn_buf *out)
{
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(map->match);
    /* Behind the last group that took part nothing is written; 0 says that there are more than fit. */
    uint32_t pairs = matched > 0 ? (uint32_t)matched : pcre2_get_ovector_count(map->match);

    for (; *use != '\0'; use++) {
        bool escape = *use == '\\' || *use == '$';
        uint32_t group = escape && use[1] >= '0' && use[1] <= '9' ? (uint32_t)(use[1] - '0') : UINT32_MAX;

        if (group != UINT32_MAX && group < pairs && at[2 * group] != PCRE2_UNSET)
            tn_buf_add(out, text + at[2 * group], at[2 * group + 1] - at[2 * group]);
        else if (group == UINT32_MAX)
            tn_buf_add(out, use, 1);
        if (group != UINT32_MAX || (escape && use[1] == *use))
            use++;
    }
}

/* 1: fits, and `out` has the new name; 0: does not; -1: an error. */
static int try_rule(const struct tn_image_map *map, size_t number, const char *text, struct tn_buf *out,
                    struct tn_err *err)
{
    const struct rule *rule = &map->rules[number - 1];
    size_t len = strlen(rule->text);
    int matched;

    if (rule->kind == RULE_IMAGE && strcmp(rule->text, text) == 0) {
        tn_buf_adds(out, rule->use);
        return 1;
    }
    if (rule->kind == RULE_PREFIX && strncmp(rule->text, text, len) == 0) {
        tn_buf_addf(out, "%s%s", rule->use, text + len);
        return 1;
    }
    if (rule->kind != RULE_PATTERN)
        return 0;
    matched = pcre2_match(rule->code, (PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, 0, 0, map->match, map->limits);
    if (matched >= 0)
        expand(map, rule->use, text, matched, out);
    else if (matched != PCRE2_ERROR_NOMATCH)
        return tn_err_set(err, TN_ERR_LIMIT,
                          "docker.images, entry %zu: the pattern \"%.200s\" needs more than %d steps for \"%.200s\"; "
                          "write it without nested repeats",
                          number, rule->text, MATCH_STEPS, text);
    return matched >= 0;
}

static bool is_same(const struct rule *rule, const struct tn_image_ref *ref)
{
    return rule->has_full && memcmp(&rule->full, ref, sizeof(*ref)) == 0;
}

int tn_image_map_apply(const struct tn_image_map *map, const char *text, struct tn_image_ref *used, struct tn_err *err)
{
    auto_buf struct tn_buf out = TN_BUF_INIT;
    char full[TN_IMAGE_REF_TEXT_MAX + 1];

    if (tn_image_ref_parse(text, used, err) != 0)
        return -1;
    tn_image_ref_format(used, full, sizeof(full));
    for (size_t i = 0; i < map->count; i++) {
        int fits = try_rule(map, i + 1, text, &out, err);

        if (fits == 0)
            fits = try_rule(map, i + 1, full, &out, err);
        if (fits == 0 && map->rules[i].kind == RULE_IMAGE && is_same(&map->rules[i], used)) {
            tn_buf_adds(&out, map->rules[i].use);
            fits = 1;
        }
        if (fits < 0)
            return -1;
        if (fits == 0)
            continue;
        if (tn_image_ref_parse(out.data != NULL ? out.data : "", used, err) != 0)
            return tn_err_wrap(err, "docker.images, entry %zu, stands for image \"%.200s\"", i + 1, text);
        return (int)i + 1;
    }
    return 0;
}
