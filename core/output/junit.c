#include "core/output/junit.h"
#include "core/lib/log.h"

#include <errno.h>
#include <expat.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DEPTH_MAX = 200, PIECE = 65536 };
static const uint64_t claimed_max = 100000000; /* of an attribute: more is no count of tests */

struct reading {
    XML_Parser parser;
    unsigned depth;
    unsigned case_depth; /* depth of the open <testcase>, 0: none */
    bool failed;
    bool error;
    bool skipped;
    const char *refused;            /* why we ended it */
    struct tn_junit_counts cases;   /* counted by <testcase> */
    struct tn_junit_counts claimed; /* what the outermost suites say of themselves */
    unsigned claimed_depth;         /* depth of the suite whose claim is in force, 0: none */
};

static void end_it(struct reading *reading, const char *why)
{
    reading->refused = why;
    XML_StopParser(reading->parser, XML_FALSE);
}

static uint64_t attribute(const char **attributes, const char *name)
{
    for (; attributes[0] != NULL; attributes += 2)
        if (strcmp(attributes[0], name) == 0) {
            unsigned long long value = strtoull(attributes[1], NULL, 10);

            return attributes[1][0] >= '0' && attributes[1][0] <= '9' && value <= claimed_max ? value : 0;
        }
    return 0;
}

static void note_claim(struct reading *reading, const char **attributes)
{
    struct tn_junit_counts *claimed = &reading->claimed;
    uint64_t total = attribute(attributes, "tests");

    if (reading->claimed_depth != 0 || total == 0)
        return;
    reading->claimed_depth = reading->depth;
    claimed->total += total;
    claimed->errors += attribute(attributes, "errors");
    claimed->failed += attribute(attributes, "failures") + attribute(attributes, "errors");
    claimed->skipped += attribute(attributes, "skipped");
}

static void on_start(void *arg, const char *name, const char **attributes)
{
    struct reading *reading = arg;

    if (++reading->depth > DEPTH_MAX) {
        end_it(reading, "elements are nested too deeply");
        return;
    }
    if (strcmp(name, "testcase") == 0 && reading->case_depth == 0) {
        reading->case_depth = reading->depth;
        reading->failed = reading->error = reading->skipped = false;
    } else if (reading->case_depth != 0 && reading->depth == reading->case_depth + 1) {
        reading->failed = reading->failed || strcmp(name, "failure") == 0;
        reading->error = reading->error || strcmp(name, "error") == 0;
        reading->skipped = reading->skipped || strcmp(name, "skipped") == 0;
    } else if (strcmp(name, "testsuite") == 0 || strcmp(name, "testsuites") == 0) {
        note_claim(reading, attributes);
    }
}

static void on_end(void *arg, const char *name)
{
    struct reading *reading = arg;

    if (reading->depth == reading->case_depth) {
        reading->case_depth = 0;
        reading->cases.total++;
        reading->cases.failed += reading->failed || reading->error;
        reading->cases.errors += reading->error;
        reading->cases.skipped += reading->skipped && !reading->failed && !reading->error;
    }
    if (reading->depth == reading->claimed_depth)
        reading->claimed_depth = 0;
    reading->depth--;
}

static void on_entity(void *arg, const char *name, int is_parameter, const char *value, int length, const char *base,
                      const char *system_id, const char *public_id, const char *notation)
{
    end_it(arg, "it declares entities");
}

static void begin(struct reading *reading)
{
    memset(reading, 0, sizeof(*reading));
    reading->parser = XML_ParserCreate(NULL);
    if (reading->parser == NULL)
        tn_fatal(3, "out of memory: an XML parser");
    XML_SetUserData(reading->parser, reading);
    XML_SetElementHandler(reading->parser, on_start, on_end);
    XML_SetEntityDeclHandler(reading->parser, on_entity);
}

static int finish(struct reading *reading, bool whole, const char *name, struct tn_junit_counts *counts,
                  struct tn_err *err)
{
    const struct tn_junit_counts *from = reading->cases.total > 0 ? &reading->cases : &reading->claimed;

    if (!whole) {
        const char *why = reading->refused;

        tn_err_set(err, TN_ERR_PROTOCOL, "%s, line %lu: %s", name,
                   (unsigned long)XML_GetCurrentLineNumber(reading->parser),
                   why != NULL ? why : XML_ErrorString(XML_GetErrorCode(reading->parser)));
        counts->damaged++;
    }
    counts->total += from->total;
    counts->failed += from->failed;
    counts->errors += from->errors;
    counts->skipped += from->skipped;
    XML_ParserFree(reading->parser);
    return whole ? 0 : -1;
}

int tn_junit_count(const void *bytes, size_t length, struct tn_junit_counts *counts, struct tn_err *err)
{
    struct reading reading;
    const char *at = bytes;
    enum XML_Status status = XML_STATUS_OK;

    begin(&reading);
    while (status == XML_STATUS_OK && length > PIECE) {
        status = XML_Parse(reading.parser, at, PIECE, 0);
        at += PIECE;
        length -= PIECE;
    }
    if (status == XML_STATUS_OK)
        status = XML_Parse(reading.parser, at, (int)length, 1);
    return finish(&reading, status == XML_STATUS_OK, "JUnit XML", counts, err);
}

int tn_junit_count_file(int fd, const char *name, struct tn_junit_counts *counts, struct tn_err *err)
{
    struct reading reading;
    enum XML_Status status = XML_STATUS_OK;
    off_t offset = 0;
    bool last = false;

    begin(&reading);
    while (status == XML_STATUS_OK && !last) {
        char piece[PIECE];
        ssize_t got = pread(fd, piece, sizeof(piece), offset);

        if (got < 0 && errno == EINTR)
            continue;
        last = got <= 0;
        offset += got > 0 ? got : 0;
        status = XML_Parse(reading.parser, piece, got > 0 ? (int)got : 0, last);
    }
    return finish(&reading, status == XML_STATUS_OK, name, counts, err);
}
