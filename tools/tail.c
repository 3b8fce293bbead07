#include "tools/tail.h"

#include "core/lib/cleanup.h"
#include "tools/text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { TAIL_BYTES = 16 * 1024 };

void tail_file(const char *path, unsigned lines, const char *prefix, struct tn_buf *out)
{
    auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    char text[TAIL_BYTES];
    struct stat status;
    ssize_t got;
    size_t length;
    size_t at;

    if (fd < 0 || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))
        return;
    got = pread(fd, text, sizeof(text), status.st_size > TAIL_BYTES ? status.st_size - TAIL_BYTES : 0);
    if (got <= 0)
        return;
    length = (size_t)got;
    if (text[length - 1] == '\n')
        length--;
    for (at = length; at > 0; at--)
        if (text[at - 1] == '\n' && --lines == 0)
            break;
    while (at <= length) {
        const char *end = memchr(text + at, '\n', length - at);
        size_t line = end != NULL ? (size_t)(end - text) - at : length - at;

        tn_buf_adds(out, prefix);
        text_clean(text + at, line, 0, out);
        tn_buf_adds(out, "\n");
        at += line + 1;
    }
}
