#include "executors/docker/start_error.h"

#include <stdio.h>
#include <string.h>

#define OWN_FOLDER "/.tenon/"

static const char advice[] = "correct `entrypoint` or `command` of this docker entry";

static const struct {
    const char *engine;
    const char *words;
} programs[] = {
    {"executable file not found in $PATH", "is in no folder of the image's PATH"},
    {"no such file or directory", "is not in the image, or the interpreter that it names is not"},
    {"permission denied", "may not be executed (is it a folder, or has it no `x` permission?)"},
    {"exec format error", "cannot be executed: exec format error (is it made for another processor?)"},
};

/* The text between the first two quotes behind `mark`. */
static bool quoted(const char *text, const char *mark, char *out, size_t size)
{
    const char *begin = strstr(text, mark);
    const char *end;

    if (begin == NULL || (begin = strchr(begin + strlen(mark), '"')) == NULL)
        return false;
    begin++;
    end = strpbrk(begin, "\"\\");
    if (end == NULL || end == begin)
        return false;
    snprintf(out, size, "%.*s", (int)(end - begin), begin);
    return true;
}

static bool about_user(const char *engine, const char *kind, const char *image, char *out, size_t size)
{
    char mark[40];
    const char *begin;

    snprintf(mark, sizeof(mark), "unable to find %s ", kind);
    begin = strstr(engine, mark);
    if (begin == NULL)
        return false;
    begin += strlen(mark);
    snprintf(out, size, "image %s: it has no %s \"%.*s\"; correct `user` of this docker entry", image, kind,
             (int)strcspn(begin, ": \""), begin);
    return true;
}

bool tn_start_error_text(const char *engine, const char *image, char *out, size_t size)
{
    char program[200];

    out[0] = '\0';
    if (about_user(engine, "user", image, out, size) || about_user(engine, "group", image, out, size))
        return true;
    if (strstr(engine, "No command specified") != NULL || strstr(engine, "no command specified") != NULL) {
        snprintf(out, size, "image %s: it names no program; give this docker entry an `entrypoint` or a `command`",
                 image);
        return true;
    }
    if (!quoted(engine, "exec: ", program, sizeof(program)) || strncmp(program, OWN_FOLDER, strlen(OWN_FOLDER)) == 0)
        return false;
    for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
        if (strstr(engine, programs[i].engine) == NULL)
            continue;
        snprintf(out, size, "image %s: its program \"%s\" %s; %s", image, program, programs[i].words, advice);
        return true;
    }
    return false;
}

bool tn_start_error_of_output(const char *output, size_t length, char *out, size_t size)
{
    static const char begin[] = "exec ";
    static const char end[] = ": exec format error";

    out[0] = '\0';
    while (length > 0 && (output[length - 1] == '\n' || output[length - 1] == '\r'))
        length--;
    if (length < sizeof(begin) + sizeof(end) || length > 300 || memcmp(output, begin, sizeof(begin) - 1) != 0 ||
        memchr(output, '\n', length) != NULL || memcmp(output + length - (sizeof(end) - 1), end, sizeof(end) - 1) != 0)
        return false;
    snprintf(out, size, "its program %.*s %s; %s", (int)(length - (sizeof(begin) - 1) - (sizeof(end) - 1)),
             output + sizeof(begin) - 1, programs[3].words, advice);
    return true;
}
