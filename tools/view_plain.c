/* Plain lines: each with the job that it belongs to. Who looks at a file or at what another program passes on has a
 * terminal, too: of a job's control sequences only colours are left. The log file has every byte. */
#include "core/lib/fs.h"
#include "tools/text.h"
#include "tools/view_ops.h"

#include <stdlib.h>
#include <string.h>

static void plain_change(struct view *view, const struct model_change *change)
{
    struct tn_buf line = TN_BUF_INIT;

    /* A job of one task hears the same twice. */
    if (view_ops__describe(change, &line) && (view->said == NULL || strcmp(view->said, line.data) != 0)) {
        free(view->said);
        view->said = tn_fs_path("%s\n", line.data);
        view_ops__write(view->said, strlen(view->said));
        view->said[line.len] = '\0';
    }
    tn_buf_free(&line);
}

static void plain_lines(struct view *view, struct view_step *step, const char *text, size_t length)
{
    struct tn_buf prefix = TN_BUF_INIT;
    struct tn_buf out = TN_BUF_INIT;
    unsigned keep = TEXT_TABS | (view_ops__colour() ? TEXT_COLOUR : 0);

    view_ops__prefix(step->source->job, step->source->index, step->source->total, &prefix);
    while (length > 0) {
        const char *newline = memchr(text, '\n', length);
        size_t line = newline != NULL ? (size_t)(newline - text) + 1 : length;

        tn_buf_add(&out, prefix.data, prefix.len);
        text_clean(text, line, keep, &out);
        tn_buf_adds(&out, "\n");
        text += line;
        length -= line;
    }
    view_ops__write(out.data, out.len);
    tn_buf_free(&prefix);
    tn_buf_free(&out);
}

static void plain_notice(struct view *view, const char *text)
{
    struct tn_buf line = TN_BUF_INIT;

    tn_buf_addf(&line, "tenon: %s\n", text);
    view_ops__write(line.data, line.len);
    tn_buf_free(&line);
}

const struct view_ops view_plain = {
    .shows = true, .change = plain_change, .lines = plain_lines, .notice = plain_notice};
