#include "core/output/junit.h"
#include "core/lib/buf.h"
#include "core/lib/cleanup.h"
#include "core/lib/log.h"
#include "core/output/junit_text.h"

#include <errno.h>
#include <expat.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { DEPTH_MAX = 200, SUITES_MAX = 24, PIECE = 65536, TAG_MAX = 4 << 20 };
static const uint64_t claimed_max = 100000000; /* of an attribute: more is no count of tests */

/* An open suite of which we know something that its tests inherit. */
struct suite {
    unsigned depth;
    char name[TN_JUNIT_NAME_MAX];
    char file[TN_JUNIT_NAME_MAX];
};

/* The open <testcase>. */
struct open_case {
    unsigned depth; /* 0: none */
    bool failed, error, skipped, flaky;
    char name[TN_JUNIT_NAME_MAX], classname[TN_JUNIT_NAME_MAX], file[TN_JUNIT_NAME_MAX];
    double seconds;
    struct tn_junit_words words;
};

struct reading {
    XML_Parser parser;
    tn_junit_cb *on_test;
    void *arg;
    unsigned depth;
    struct suite suites[SUITES_MAX];
    unsigned suite_count;
    struct open_case test;
    unsigned text_depth;            /* depth of the element whose text is taken, 0: none */
    const char *refused;            /* why we ended it */
    char root[80];                  /* the first element's name */
    bool is_junit;                  /* a suite or a test was seen */
    struct tn_junit_counts cases;   /* counted by <testcase> */
    struct tn_junit_counts claimed; /* what the outermost suites say of themselves */
    unsigned claimed_depth;         /* depth of the suite whose claim is in force, 0: none */
};

static void end_it(struct reading *reading, const char *why)
{
    reading->refused = why;
    XML_StopParser(reading->parser, XML_FALSE);
}

/* ---- attributes ---- */

static const char *attribute(const char **attributes, const char *name)
{
    for (; attributes[0] != NULL; attributes += 2)
        if (strcmp(attributes[0], name) == 0)
            return attributes[1];
    return NULL;
}

static uint64_t number(const char **attributes, const char *name)
{
    const char *text = attribute(attributes, name);
    unsigned long long value = text != NULL && text[0] >= '0' && text[0] <= '9' ? strtoull(text, NULL, 10) : 0;

    return value <= claimed_max ? value : 0;
}

static void keep_name(char out[TN_JUNIT_NAME_MAX], const char *text)
{
    tn_junit_clip(out, TN_JUNIT_NAME_MAX, text != NULL ? text : "", text != NULL ? strlen(text) : 0);
}

/* ---- suites ---- */

static void note_claim(struct reading *reading, const char **attributes)
{
    struct tn_junit_counts *claimed = &reading->claimed;
    uint64_t total = number(attributes, "tests");

    if (reading->claimed_depth != 0 || total == 0)
        return;
    reading->claimed_depth = reading->depth;
    claimed->total += total;
    claimed->errors += number(attributes, "errors");
    claimed->failed += number(attributes, "failures") + number(attributes, "errors");
    claimed->skipped += number(attributes, "skipped") + number(attributes, "disabled");
}

static void begin_suite(struct reading *reading, const char **attributes)
{
    struct suite *suite = &reading->suites[reading->suite_count];
    const char *file = attribute(attributes, "file");

    note_claim(reading, attributes);
    if (reading->suite_count == SUITES_MAX)
        return;
    suite->depth = reading->depth;
    keep_name(suite->name, attribute(attributes, "name"));
    keep_name(suite->file, file != NULL ? file : reading->suite_count > 0 ? suite[-1].file : NULL);
    reading->suite_count++;
}

/* ---- tests ---- */

/* What a test's own attributes say of its end: GoogleTest's and CTest's `status`, others' `result`. */
static void take_status(struct open_case *test, const char *status)
{
    static const char *const skipped[] = {"notrun", "disabled", "skipped", "ignored", "suppressed", "pending"};
    static const char *const failed[] = {"fail", "failed", "failure"};

    for (size_t i = 0; status != NULL && i < sizeof(skipped) / sizeof(skipped[0]); i++)
        test->skipped = test->skipped || strcasecmp(status, skipped[i]) == 0;
    for (size_t i = 0; status != NULL && i < sizeof(failed) / sizeof(failed[0]); i++)
        test->failed = test->failed || strcasecmp(status, failed[i]) == 0;
    test->error = test->error || (status != NULL && strcasecmp(status, "error") == 0);
}

static void begin_case(struct reading *reading, const char **attributes)
{
    struct open_case *test = &reading->test;
    const struct suite *suite = reading->suite_count > 0 ? &reading->suites[reading->suite_count - 1] : NULL;
    const char *classname = attribute(attributes, "classname");
    const char *file = attribute(attributes, "file");
    const char *time = attribute(attributes, "time");

    test->depth = reading->depth;
    test->failed = test->error = test->skipped = test->flaky = false;
    keep_name(test->name, attribute(attributes, "name"));
    keep_name(test->classname, classname != NULL ? classname : attribute(attributes, "class"));
    keep_name(test->file, file != NULL ? file : suite != NULL ? suite->file : NULL);
    test->seconds = time != NULL ? tn_junit_seconds(time) : -1;
    tn_junit_words_reset(&test->words);
    take_status(test, attribute(attributes, "status"));
    take_status(test, attribute(attributes, "result"));
}

/* An element of a test: what it says of the test's end, and whose text it is. */
static void begin_detail(struct reading *reading, const char *name, const char **attributes)
{
    struct open_case *test = &reading->test;
    enum tn_junit_word_kind kind = TN_JUNIT_WHY;

    if (strcmp(name, "failure") == 0)
        test->failed = true;
    else if (strcmp(name, "error") == 0)
        test->error = true;
    else if (strcmp(name, "skipped") == 0 || strcmp(name, "disabled") == 0 || strcmp(name, "ignored") == 0 ||
             strcmp(name, "pending") == 0)
        test->skipped = true;
    else if (strcmp(name, "system-out") == 0 || strcmp(name, "system-err") == 0)
        kind = TN_JUNIT_SAID;
    else {
        test->flaky = test->flaky || strcmp(name, "flakyFailure") == 0 || strcmp(name, "flakyError") == 0;
        return;
    }
    reading->text_depth = reading->depth;
    tn_junit_words_begin(&test->words, kind, attribute(attributes, "message"), attribute(attributes, "type"));
}

static void end_case(struct reading *reading)
{
    struct open_case *test = &reading->test;
    struct tn_junit_counts *counts = &reading->cases;
    bool failed = test->failed || test->error;
    bool skipped = test->skipped && !failed;
    char message[TN_JUNIT_MESSAGE_MAX];
    struct tn_junit_test told = {.name = test->name,
                                 .classname = test->classname,
                                 .file = test->file,
                                 .suite =
                                     reading->suite_count > 0 ? reading->suites[reading->suite_count - 1].name : "",
                                 .flaky = test->flaky && !failed && !skipped,
                                 .seconds = test->seconds,
                                 .message = message};

    test->depth = 0;
    told.result = test->error ? TN_JUNIT_ERROR
                  : failed    ? TN_JUNIT_FAILED
                  : skipped   ? TN_JUNIT_SKIPPED
                              : TN_JUNIT_PASSED;
    counts->total++;
    counts->failed += failed;
    counts->errors += test->error;
    counts->skipped += skipped;
    counts->flaky += told.flaky;
    if (reading->on_test == NULL)
        return;
    message[0] = '\0';
    if (told.result != TN_JUNIT_PASSED)
        tn_junit_words_make(&test->words, failed, message);
    reading->on_test(reading->arg, &told);
}

/* ---- expat ---- */

static const char *local_name(const char *name)
{
    const char *colon = strrchr(name, ':');

    return colon != NULL ? colon + 1 : name;
}

static void on_start(void *arg, const char *full_name, const char **attributes)
{
    struct reading *reading = arg;
    const char *name = local_name(full_name);

    if (++reading->depth > DEPTH_MAX) {
        end_it(reading, "elements are nested too deeply");
        return;
    }
    if (reading->depth == 1)
        tn_junit_clip(reading->root, sizeof(reading->root), full_name, strlen(full_name));
    if (reading->test.depth != 0) {
        if (reading->depth == reading->test.depth + 1)
            begin_detail(reading, name, attributes);
    } else if (strcmp(name, "testcase") == 0) {
        reading->is_junit = true;
        begin_case(reading, attributes);
    } else if (strcmp(name, "testsuite") == 0 || strcmp(name, "testsuites") == 0) {
        reading->is_junit = true;
        begin_suite(reading, attributes);
    }
}

static void on_end(void *arg, const char *name)
{
    struct reading *reading = arg;

    if (reading->depth == reading->text_depth)
        reading->text_depth = 0;
    if (reading->depth == reading->test.depth)
        end_case(reading);
    if (reading->suite_count > 0 && reading->suites[reading->suite_count - 1].depth == reading->depth)
        reading->suite_count--;
    if (reading->depth == reading->claimed_depth)
        reading->claimed_depth = 0;
    reading->depth--;
}

static void on_text(void *arg, const char *text, int length)
{
    struct reading *reading = arg;

    if (reading->text_depth != 0)
        tn_junit_words_add(&reading->test.words, text, (size_t)length);
}

static void on_entity(void *arg, const char *name, int is_parameter, const char *value, int length, const char *base,
                      const char *system_id, const char *public_id, const char *notation)
{
    end_it(arg, "it declares entities");
}

/* ---- reading ---- */

struct source {
    int fd;            /* or -1: */
    const char *bytes; /* borrowed */
    size_t left;
    off_t offset;
};

static ssize_t next_piece(struct source *source, char *piece)
{
    size_t length = source->left < PIECE ? source->left : PIECE;
    ssize_t got;

    if (source->fd < 0 && length == 0)
        return 0;
    if (source->fd < 0) {
        memcpy(piece, source->bytes, length);
        source->bytes += length;
        source->left -= length;
        return (ssize_t)length;
    }
    do
        got = pread(source->fd, piece, PIECE, source->offset);
    while (got < 0 && errno == EINTR);
    source->offset += got > 0 ? got : 0;
    return got;
}

static struct reading *begin(tn_junit_cb *on_test, void *arg)
{
    struct reading *reading = calloc(1, sizeof(*reading));

    if (reading == NULL || (reading->parser = XML_ParserCreate(NULL)) == NULL)
        tn_fatal(3, "out of memory: an XML parser");
    reading->on_test = on_test;
    reading->arg = arg;
    XML_SetUserData(reading->parser, reading);
    XML_SetElementHandler(reading->parser, on_start, on_end);
    XML_SetCharacterDataHandler(reading->parser, on_text);
    XML_SetEntityDeclHandler(reading->parser, on_entity);
    XML_SetUnknownEncodingHandler(reading->parser, tn_junit_encoding, NULL);
    return reading;
}

/* Feeds all of it. False if the parser or we ended it. `*size` is what there was, without blanks in front. */
static bool feed(struct reading *reading, struct source *source, uint64_t *size)
{
    struct tn_junit_cleaner cleaner = {0};
    char piece[PIECE];
    enum XML_Status status = XML_STATUS_OK;
    bool last = false;

    *size = 0;
    while (status == XML_STATUS_OK && !last) {
        ssize_t got = next_piece(source, piece);
        size_t skip = 0;

        last = got <= 0;
        if (got > 0)
            skip = tn_junit_clean(&cleaner, piece, (size_t)got);
        if (!last && skip == (size_t)got)
            continue;
        *size += last ? 0 : (uint64_t)got - skip;
        status = XML_Parse(reading->parser, piece + skip, last ? 0 : (int)((size_t)got - skip), last);
        if (status == XML_STATUS_OK && !last && (XML_Index)*size - XML_GetCurrentByteIndex(reading->parser) > TAG_MAX) {
            reading->refused = "a tag is larger than 4 MiB";
            return false;
        }
    }
    return status == XML_STATUS_OK;
}

static int judge(const struct reading *reading, bool whole, uint64_t size, const char *name,
                 struct tn_junit_counts *counts, struct tn_err *err)
{
    const char *why = reading->refused;

    if (whole && reading->is_junit)
        return 0;
    if (whole) {
        counts->foreign++;
        return tn_err_set(err, TN_ERR_PROTOCOL, "%s holds no test results: its first element is <%s>, not <testsuites>",
                          name, reading->root);
    }
    counts->damaged++;
    if (size == 0)
        return tn_err_set(err, TN_ERR_PROTOCOL, "%s is empty", name);
    return tn_err_set(err, TN_ERR_PROTOCOL, "%s, line %lu: %s", name,
                      (unsigned long)XML_GetCurrentLineNumber(reading->parser),
                      why != NULL ? why : XML_ErrorString(XML_GetErrorCode(reading->parser)));
}

static int read_all(struct source *source, const char *name, tn_junit_cb *on_test, void *arg,
                    struct tn_junit_counts *counts, struct tn_err *err)
{
    struct reading *reading = begin(on_test, arg);
    uint64_t size;
    bool whole = feed(reading, source, &size);
    int result = judge(reading, whole, size, name, counts, err);
    const struct tn_junit_counts *from = reading->cases.total > 0 ? &reading->cases : &reading->claimed;

    counts->total += from->total;
    counts->failed += from->failed;
    counts->errors += from->errors;
    counts->skipped += from->skipped;
    counts->flaky += from->flaky;
    XML_ParserFree(reading->parser);
    tn_junit_words_free(&reading->test.words);
    free(reading);
    return result;
}

int tn_junit_read(const void *bytes, size_t length, const char *name, tn_junit_cb *on_test, void *arg,
                  struct tn_junit_counts *counts, struct tn_err *err)
{
    struct source source = {.fd = -1, .bytes = bytes, .left = length};

    return read_all(&source, name, on_test, arg, counts, err);
}

int tn_junit_read_file(int fd, const char *name, tn_junit_cb *on_test, void *arg, struct tn_junit_counts *counts,
                       struct tn_err *err)
{
    struct source source = {.fd = fd};

    return read_all(&source, name, on_test, arg, counts, err);
}
