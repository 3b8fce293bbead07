#include "executors/agent/glob.h"
#include "core/lib/buf.h"
#include "core/lib/cleanup.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define EXPAND_MAX 4096
#define STEPS_MAX 2000000 /* a pattern of many stars must not take for ever */
#define DEPTH_MAX 256

/* Matches a bracket expression at `*pattern` (behind '['); moves it behind ']'. -1 if it is not closed. */
static int match_class(const char **pattern, unsigned char c)
{
    const char *at = *pattern;
    bool negated = *at == '!' || *at == '^';
    bool found = false;

    at += negated;
    for (bool first = true; *at != ']' || first; first = false) {
        unsigned char low;
        unsigned char high;

        if (*at == '\\' && at[1] != '\0')
            at++;
        if (*at == '\0')
            return -1;
        low = high = (unsigned char)*at++;
        if (at[0] == '-' && at[1] != ']' && at[1] != '\0') {
            at++;
            if (*at == '\\' && at[1] != '\0')
                at++;
            high = (unsigned char)*at++;
        }
        found = found || (c >= low && c <= high);
    }
    *pattern = at + 1;
    return found != negated;
}

static bool match_here(const char *pattern, const char *path, bool at_start, long *steps);

static bool match_stars(const char *pattern, const char *path, bool at_start, long *steps)
{
    bool across = pattern[1] == '*';

    while (*pattern == '*')
        pattern++;
    if (across && at_start && *pattern == '/' && match_here(pattern + 1, path, true, steps))
        return true;
    for (;; path++) {
        if (match_here(pattern, path, false, steps))
            return true;
        if (*path == '\0' || (*path == '/' && !across))
            return false;
    }
}

/* `at_start`: a component of the pattern begins here. */
static bool match_here(const char *pattern, const char *path, bool at_start, long *steps)
{
    for (; *pattern != '\0'; at_start = pattern[-1] == '/') {
        if (--*steps < 0)
            return false;
        if (*pattern == '*')
            return match_stars(pattern, path, at_start, steps);
        if (*path == '\0')
            return false;
        if (*pattern == '?') {
            if (*path == '/')
                return false;
            pattern++;
        } else if (*pattern == '[') {
            const char *rest = pattern + 1;
            int matched = match_class(&rest, (unsigned char)*path);

            if (matched < 0 ? *path != '[' : matched == 0 || *path == '/')
                return false;
            pattern = matched < 0 ? pattern + 1 : rest;
        } else {
            if (*pattern == '\\' && pattern[1] != '\0')
                pattern++;
            if (*pattern != *path)
                return false;
            pattern++;
        }
        path++;
    }
    return *path == '\0';
}

bool tn_glob_match(const char *pattern, const char *path)
{
    long steps = STEPS_MAX;

    return match_here(pattern, path, true, &steps);
}

/* The ',' or '}' that belongs to the brace that is open at `at`; NULL if it is never closed. */
static const char *brace_part_end(const char *at)
{
    int depth = 0;

    for (; *at != '\0'; at++) {
        if (*at == '\\' && at[1] != '\0')
            at++;
        else if (*at == '{')
            depth++;
        else if (depth == 0 && (*at == ',' || *at == '}'))
            return at;
        else if (*at == '}')
            depth--;
    }
    return NULL;
}

static const char *brace_close(const char *open)
{
    const char *end = brace_part_end(open + 1);

    while (end != NULL && *end == ',')
        end = brace_part_end(end + 1);
    return end;
}

static const char *find_brace(const char *at)
{
    for (; *at != '\0'; at++) {
        if (*at == '\\' && at[1] != '\0')
            at++;
        else if (*at == '{' && brace_close(at) != NULL)
            return at;
    }
    return NULL;
}

char *tn_glob_of_match(const char *pattern)
{
    char *out = malloc(2 * strlen(pattern) + 1);
    char *to = out;

    if (out == NULL)
        return NULL;
    for (const char *at = pattern; *at != '\0'; at++) {
        if (*at == '*' && at[1] == '*')
            continue;
        if (*at == '{' || (*at == '!' && at > pattern && at[-1] == '['))
            *to++ = '\\';
        *to++ = *at;
        if (*at == '\\' && at[1] != '\0')
            *to++ = *++at;
    }
    *to = '\0';
    return out;
}

int tn_glob_expand(const char *pattern, struct tn_words *out, struct tn_err *err)
{
    const char *open = find_brace(pattern);
    const char *close;
    const char *part;

    if (open == NULL) {
        if (out->count >= EXPAND_MAX)
            return tn_err_set(err, TN_ERR_LIMIT, "the braces of the pattern stand for more than %d patterns",
                              EXPAND_MAX);
        tn_words_add(out, pattern, strlen(pattern));
        return 0;
    }
    close = brace_close(open);
    for (part = open + 1; part <= close;) {
        const char *end = brace_part_end(part);
        auto_buf struct tn_buf text = TN_BUF_INIT;

        tn_buf_add(&text, pattern, (size_t)(open - pattern));
        tn_buf_add(&text, part, (size_t)(end - part));
        tn_buf_adds(&text, close + 1);
        if (tn_glob_expand(text.data, out, err) != 0)
            return -1;
        part = end + 1;
    }
    return 0;
}

struct search {
    const char *pattern; /* borrowed: the whole of it */
    bool files_only;
    struct tn_words *found; /* borrowed */
    struct tn_buf path;     /* what was walked so far, spelled as the pattern spells it */
};

static bool is_folder(const char *path, bool follow)
{
    struct stat info;

    return (follow ? stat(path, &info) : lstat(path, &info)) == 0 && S_ISDIR(info.st_mode);
}

static DIR *open_folder(const struct search *search)
{
    return opendir(search->path.len > 0 ? search->path.data : ".");
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static void cut_path(struct search *search, size_t len)
{
    search->path.len = len;
    search->path.data[len] = '\0';
}

/* Below a "**": everything, compared as a whole. */
static void search_all(struct search *search, int depth)
{
    auto_dir DIR *dir = depth < DEPTH_MAX ? open_folder(search) : NULL;
    size_t len = search->path.len;
    struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        bool folder;

        if (is_dots(entry->d_name))
            continue;
        tn_buf_adds(&search->path, entry->d_name);
        folder = is_folder(search->path.data, false);
        if (!(search->files_only && is_folder(search->path.data, true)) &&
            tn_glob_match(search->pattern, search->path.data))
            tn_words_add(search->found, search->path.data, search->path.len);
        if (folder) {
            tn_buf_adds(&search->path, "/");
            search_all(search, depth + 1);
        }
        cut_path(search, len);
    }
}

static void search_part(struct search *search, const char *rest, int depth);

/* The path up to here is `path`, and it exists if `exists`; `rest` is the pattern behind the component's slashes. */
static void component_found(struct search *search, const char *rest, int depth)
{
    size_t len = search->path.len;
    struct stat info;

    if (*rest == '\0') {
        if (lstat(search->path.data, &info) == 0)
            tn_words_add(search->found, search->path.data, search->path.len);
        return;
    }
    if (!is_folder(search->path.data, true))
        return;
    tn_buf_adds(&search->path, "/");
    search_part(search, rest, depth + 1);
    cut_path(search, len);
}

static bool has_double_star(const char *part)
{
    while (*part != '\0' && !(part[0] == '*' && part[1] == '*'))
        part++;
    return *part != '\0';
}

/* Matches the first component of `rest` in the folder `path`. */
static void search_part(struct search *search, const char *rest, int depth)
{
    size_t len = search->path.len;
    size_t part_len = strcspn(rest, "/");
    auto_free char *part = strndup(rest, part_len);
    auto_dir DIR *dir = NULL;
    struct dirent *entry;

    if (part == NULL || depth > DEPTH_MAX)
        return;
    rest += part_len;
    rest += strspn(rest, "/");
    if (has_double_star(part)) {
        search_all(search, depth);
        return;
    }
    if (strpbrk(part, "*?[\\") == NULL) {
        tn_buf_adds(&search->path, part);
        component_found(search, rest, depth);
        cut_path(search, len);
        return;
    }
    dir = open_folder(search);
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (is_dots(entry->d_name) || !tn_glob_match(part, entry->d_name))
            continue;
        tn_buf_adds(&search->path, entry->d_name);
        component_found(search, rest, depth);
        cut_path(search, len);
    }
}

int tn_glob_find(const char *pattern, bool files_only, struct tn_words *found, struct tn_err *err)
{
    struct tn_words patterns = {NULL, 0, 0};
    int result = tn_glob_expand(pattern, &patterns, err);

    for (size_t i = 0; result == 0 && i < patterns.count; i++) {
        struct search search = {patterns.all[i], files_only, found, TN_BUF_INIT};
        size_t slashes = strspn(search.pattern, "/");

        tn_buf_add(&search.path, "/", slashes > 0 ? 1 : 0);
        if (search.pattern[slashes] != '\0')
            search_part(&search, search.pattern + slashes, 0);
        tn_buf_free(&search.path);
    }
    tn_words_free(&patterns);
    return result;
}
