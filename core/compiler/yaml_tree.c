#include "core/compiler/yaml_tree.h"

#include "core/compiler/limits.h"
#include "core/compiler/suggest.h"
#include "core/compiler/yaml_merge.h"
#include "core/lib/log.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { VALUES_FIRST = 256 }; /* room for children of open collections; grows */

struct frame {
    struct node *node;
    const char *anchor; /* or NULL */
    size_t base;        /* its children are the composer's values from here on */
};

struct anchor {
    struct node *node;
    bool open; /* its collection is not closed yet */
};

struct composer {
    struct diags *diags;
    struct arena *arena;
    struct merger merger;
    struct frame stack[LIMIT_DEPTH];
    size_t depth;
    struct node **values; /* owned; children of all open collections */
    size_t value_count;
    size_t value_size;
    size_t nodes;
    size_t anchor_count;
    struct table anchors; /* name to struct anchor */
    const char **anchor_names;
    struct node *root;
    bool stopped; /* a limit was reached and reported */
};

const struct node *yaml__target(const struct node *node)
{
    return node->kind == NODE_ALIAS ? node->target : node;
}

const struct pair *yaml__find(const struct node *map, const char *key)
{
    return map->kind == NODE_MAP ? table__get(&map->index, key) : NULL;
}

static struct place place_of(const yaml_mark_t *start, const yaml_mark_t *end)
{
    struct place place = {(uint32_t)start->line + 1, (uint32_t)start->column + 1, 0};

    if (end != NULL && end->line == start->line)
        place.end_column = (uint32_t)end->column + 1;
    return place;
}

static void stop_at_limit(struct composer *c, enum diag_code code, struct place at, const char *what, unsigned limit)
{
    diag__add(c->diags, &(struct report){.code = code, .at = at}, "the config has more than %u %s", limit, what);
    c->stopped = true;
}

static struct node *node_new(struct composer *c, enum node_kind kind, struct place place)
{
    struct node *node = arena__alloc(c->arena, sizeof(*node));

    node->kind = kind;
    node->place = place;
    if (++c->nodes > LIMIT_NODES && !c->stopped)
        stop_at_limit(c, DIAG_YAML_NODES, place, "values", LIMIT_NODES);
    return node;
}

static void push_value(struct composer *c, struct node *node)
{
    if (c->depth == 0) {
        c->root = node;
        return;
    }
    if (c->value_count == c->value_size) {
        c->value_size *= 2;
        c->values = reallocarray(c->values, c->value_size, sizeof(*c->values));
        if (c->values == NULL)
            tn_fatal(3, "out of memory: %zu YAML values", c->value_size);
    }
    c->values[c->value_count++] = node;
    if (node->has_anchor)
        c->stack[c->depth - 1].node->has_anchor = true;
}

/* Binds an anchor to its node; a later anchor of the same name counts from here on. */
static const char *bind_anchor(struct composer *c, const yaml_char_t *name, struct node *node, bool open)
{
    struct anchor *anchor;
    const char *text;

    if (name == NULL)
        return NULL;
    node->has_anchor = true;
    if (++c->anchor_count > LIMIT_ANCHORS) {
        if (!c->stopped)
            stop_at_limit(c, DIAG_YAML_ANCHORS, node->place, "anchors", LIMIT_ANCHORS);
        return NULL;
    }
    text = arena__text(c->arena, (const char *)name, strlen((const char *)name));
    anchor = arena__alloc(c->arena, sizeof(*anchor));
    *anchor = (struct anchor){node, open};
    c->anchor_names[c->anchor_count - 1] = text;
    table__put(c->arena, &c->anchors, text, anchor);
    return text;
}

static void check_tag(struct composer *c, const yaml_char_t *tag, struct place at)
{
    static const char *const known[] = {"str", "int", "bool", "float", "null", "map", "seq"};
    const char *text = (const char *)tag;

    if (tag == NULL || strcmp(text, "!") == 0)
        return;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strncmp(text, YAML_DEFAULT_SCALAR_TAG, 18) == 0 && strcmp(text + 18, known[i]) == 0)
            return;
    diag__add(c->diags, &(struct report){.code = DIAG_YAML_TAG, .at = at, .hint = "write the value without a tag"},
              "the YAML tag `%.100s` is not supported", text);
}

static void on_scalar(struct composer *c, const yaml_event_t *event)
{
    struct place place = place_of(&event->start_mark, &event->end_mark);
    struct node *node = node_new(c, NODE_SCALAR, place);
    size_t len = event->data.scalar.length;

    check_tag(c, event->data.scalar.tag, place);
    if (memchr(event->data.scalar.value, '\0', len) != NULL) {
        diag__add(c->diags, &(struct report){.code = DIAG_YAML_CONTROL, .at = place},
                  "a text with a NUL character in it cannot be used");
        len = strlen((const char *)event->data.scalar.value);
    }
    node->text = arena__text(c->arena, (const char *)event->data.scalar.value, len);
    node->len = len;
    node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
                  (event->data.scalar.tag == NULL || strcmp((const char *)event->data.scalar.tag, YAML_STR_TAG) != 0);
    bind_anchor(c, event->data.scalar.anchor, node, false);
    push_value(c, node);
}

static void on_alias(struct composer *c, const yaml_event_t *event)
{
    struct place place = place_of(&event->start_mark, &event->end_mark);
    const char *name = (const char *)event->data.alias.anchor;
    struct anchor *anchor = table__get(&c->anchors, name);
    struct node *node = node_new(c, NODE_ALIAS, place);

    if (anchor != NULL && !anchor->open) {
        node->target = anchor->node;
    } else {
        /* An empty value stands in, so that the rest of the text can be looked at. */
        node->target = node_new(c, NODE_SCALAR, place);
        node->target->text = "";
        node->target->broken = true;
        node->target->plain = true;
        if (anchor != NULL)
            diag__add(c->diags,
                      &(struct report){.code = DIAG_YAML_ALIAS_CYCLE, .at = place, .note = anchor->node->place},
                      "the alias `*%.100s` stands inside the value that it names", name);
        else
            diag__add(c->diags,
                      &(struct report){.code = DIAG_YAML_ALIAS,
                                       .at = place,
                                       .expected = "an anchor `&name` earlier in the file",
                                       .hint = suggest__did_you_mean(c->diags, name, c->anchor_names, c->anchor_count)},
                      "the alias `*%.100s` names no anchor", name);
    }
    push_value(c, node);
}

static void on_start(struct composer *c, const yaml_event_t *event)
{
    bool map = event->type == YAML_MAPPING_START_EVENT;
    const yaml_char_t *anchor = map ? event->data.mapping_start.anchor : event->data.sequence_start.anchor;
    struct node *node = node_new(c, map ? NODE_MAP : NODE_SEQ, place_of(&event->start_mark, NULL));

    check_tag(c, map ? event->data.mapping_start.tag : event->data.sequence_start.tag, node->place);
    if (c->depth == LIMIT_DEPTH) {
        stop_at_limit(c, DIAG_YAML_DEPTH, node->place, "levels of nested lists and maps", LIMIT_DEPTH);
        return;
    }
    c->stack[c->depth].anchor = bind_anchor(c, anchor, node, true);
    c->stack[c->depth].node = node;
    c->stack[c->depth].base = c->value_count;
    c->depth++;
}

/* Drops the pairs whose key is not a text, with a report. */
static size_t check_keys(struct composer *c, struct node **flat, size_t count)
{
    size_t kept = 0;

    for (size_t i = 0; i + 1 < count; i += 2) {
        if (yaml__target(flat[i])->kind != NODE_SCALAR) {
            diag__add(c->diags, &(struct report){.code = DIAG_YAML_KEY, .at = flat[i]->place},
                      "a list or a map cannot be a key");
            continue;
        }
        flat[kept++] = flat[i];
        flat[kept++] = flat[i + 1];
    }
    return kept;
}

static void on_end(struct composer *c)
{
    struct frame *frame = &c->stack[--c->depth];
    struct node *node = frame->node;
    struct node **children = c->values + frame->base;
    size_t count = c->value_count - frame->base;
    struct anchor *anchor = frame->anchor != NULL ? table__get(&c->anchors, frame->anchor) : NULL;

    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): libyaml ends only what it began; on_start() made the node */
    if (node->kind == NODE_MAP) {
        count = check_keys(c, children, count);
        yaml__flatten(&c->merger, node, children, count);
    } else {
        node->items = arena__alloc(c->arena, (count + 1) * sizeof(*node->items));
        if (count > 0)
            memcpy(node->items, children, count * sizeof(*node->items));
        node->item_count = count;
    }
    if (anchor != NULL && anchor->node == node)
        anchor->open = false;
    c->value_count = frame->base;
    push_value(c, node);
}

/* What libyaml says, in words that help: the place of an unclosed bracket is where it was opened. */
static void report_syntax(struct composer *c, const yaml_parser_t *parser)
{
    struct place at = place_of(&parser->problem_mark, NULL);
    struct report report = {.code = DIAG_YAML_SYNTAX, .at = at};
    const char *problem = parser->problem != NULL ? parser->problem : "not valid YAML";
    const char *context = parser->context != NULL ? parser->context : "";
    const char *line = source__line(c->diags->source, c->arena, at.line);

    if (parser->error == YAML_READER_ERROR)
        report.at = (struct place){1, 1, 0};
    if (parser->context != NULL && parser->context_mark.index != parser->problem_mark.index) {
        report.note = place_of(&parser->context_mark, NULL);
        report.note_text = context;
    }
    if (strstr(context, "flow") != NULL && strncmp(problem, "did not find expected ','", 25) == 0) {
        report.at = report.note;
        report.note = at;
        report.note_text = "the parser noticed it here";
        report.hint = "close the bracket, or put a comma between its items";
        problem = "this bracket is not closed";
    } else if (line[strspn(line, " ")] == '\t') {
        report.hint = "YAML does not allow tabs for indentation; use spaces";
    } else if (strcmp(problem, "mapping values are not allowed in this context") == 0) {
        report.hint = "check the indentation, and quote a text that contains `: `";
    } else if (strcmp(problem, "did not find expected key") == 0 ||
               strcmp(problem, "could not find expected ':'") == 0) {
        report.hint = "check the indentation of this line and of the one before";
    }
    diag__add(c->diags, &report, "%s", problem);
}

static void on_event(struct composer *c, const yaml_event_t *event, size_t *documents)
{
    switch ((int)event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (++*documents > 1) {
            diag__add(c->diags, &(struct report){.code = DIAG_YAML_DOCUMENTS, .at = place_of(&event->start_mark, NULL)},
                      "a second YAML document begins here; a config is one document");
            c->stopped = true;
        }
        break;
    case YAML_SCALAR_EVENT:
        on_scalar(c, event);
        break;
    case YAML_ALIAS_EVENT:
        on_alias(c, event);
        break;
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        on_start(c, event);
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        on_end(c);
        break;
    default:
        break;
    }
}

static void run_parser(struct composer *c, yaml_parser_t *parser)
{
    size_t documents = 0;
    bool end = false;

    while (!end && !c->stopped) {
        yaml_event_t event;

        if (!yaml_parser_parse(parser, &event)) {
            report_syntax(c, parser);
            c->stopped = true;
            return;
        }
        end = event.type == YAML_STREAM_END_EVENT;
        on_event(c, &event, &documents);
        yaml_event_delete(&event);
    }
}

/* The duplicates move into the arena, so that the tree owns nothing else. */
static void take_duplicates(struct yaml_tree *tree, struct composer *c)
{
    size_t size = c->merger.duplicate_count * sizeof(*tree->duplicates);

    tree->duplicates = arena__alloc(c->arena, size + 1);
    if (size > 0)
        memcpy(tree->duplicates, c->merger.duplicates, size);
    tree->duplicate_count = c->merger.duplicate_count;
    tree->steps = c->merger.steps;
    free(c->merger.duplicates);
}

void yaml__compose(struct yaml_tree *tree, const struct source *source, struct diags *diags)
{
    struct composer c = {.diags = diags, .arena = diags->arena, .merger = {.diags = diags}};
    yaml_parser_t parser;

    *tree = (struct yaml_tree){0};
    if (!yaml_parser_initialize(&parser))
        tn_fatal(3, "out of memory: the YAML parser");
    c.anchor_names = arena__alloc(c.arena, LIMIT_ANCHORS * sizeof(*c.anchor_names));
    c.values = calloc(VALUES_FIRST, sizeof(*c.values));
    if (c.values == NULL)
        tn_fatal(3, "out of memory: YAML values");
    c.value_size = VALUES_FIRST;
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)source->text, source->len);
    run_parser(&c, &parser);
    yaml_parser_delete(&parser);
    free(c.values);
    take_duplicates(tree, &c);
    if (!c.stopped && c.root == NULL)
        diag__add(diags, &(struct report){.code = DIAG_YAML_DOCUMENTS, .at = {1, 1, 0}}, "the config is empty");
    if (!c.stopped && !c.merger.full)
        tree->root = c.root;
}
