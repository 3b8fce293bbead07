/* Looking at the config's values: children of maps and lists, types, and checks of keys. */
#ifndef TN_COMPILER_VIEW_H
#define TN_COMPILER_VIEW_H

#include "core/compiler/context.h"

/* The value `node` as it is used in `scope`. */
struct view view__of(struct compiler *c, const struct node *node, const struct scope *scope);
/* The value of `key`; VIEW_NONE if there is none, VIEW_UNKNOWN of an unknown map. */
struct view view__get(struct compiler *c, const struct view *map, const char *key);
/* The i-th pair's value and key. The key is a scalar as it is written, without substitution. */
struct view view__pair(struct compiler *c, const struct view *map, size_t i, struct view *key);
struct view view__item(struct compiler *c, const struct view *list, size_t i);
/* Number of pairs or items. */
size_t view__count(const struct view *view);

/* True for what the config leaves empty: `key:` or `key: null`. */
bool view__is_null(const struct view *view);
/* "a list", "a map", "the text `x`", ... in the arena, for messages. */
const char *view__describe(struct compiler *c, const struct view *view);

/* The type that a scalar's spelling gives it. Booleans as in YAML 1.1: true/false, yes/no, on/off. */
enum scalar_type view__spelled_type(const char *text, bool plain);
/* Reads a YAML 1.1 boolean. */
bool view__parse_bool(const char *text, bool *out);
/* Reads a decimal integer, the whole of `text`. */
bool view__parse_int(const char *text, long long *out);

enum key_rule_kind {
    KEY_OK,
    KEY_REFUSED,   /* in the language, not here yet */
    KEY_NO_EFFECT, /* accepted with a warning */
};

struct key_rule {
    const char *name;
    enum key_rule_kind kind;
};

/* Reports what is not a map (and then returns false), and the keys of the map that `rules` does not allow. `what` names
 * the thing, as in "the job `x`". */
bool view__check_keys(struct compiler *c, const struct view *map, const char *what, const struct key_rule *rules,
                      size_t count);

#endif
