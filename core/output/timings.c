#include "core/output/timings.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "core/output/json_text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TAR_BLOCK = 512, DAY_S = 86400, LOCK_TRIES = 100, LOCK_WAIT_MS = 10, FILE_MAX = 96 << 20 };

static const char entry_name[] = "circle-test-results/results.json";
static const char file_head[] = "{\"tests\":[\n";
static const char file_tail[] = "\n],\"files\":[],\"exceptions\":[]}\n";

/* ---- what was read ---- */

void tn_timings_add(struct tn_timings *timings, const struct tn_junit_test *test, const char *file)
{
    size_t lengths[] = {strlen(file) + 1, strlen(test->classname) + 1, strlen(test->name) + 1};
    size_t bytes = lengths[0] + lengths[1] + lengths[2];
    struct tn_timing *timing;

    if (test->seconds < 0 || bytes == 3 || timings->count == TN_TIMINGS_MAX ||
        timings->bytes + bytes > TN_TIMINGS_BYTES)
        return;
    if (timings->count == timings->room) {
        timings->room = timings->room != 0 ? 2 * timings->room : 64;
        timings->all = realloc(timings->all, timings->room * sizeof(*timings->all));
        if (timings->all == NULL)
            tn_fatal(3, "out of memory: %zu times of tests", timings->room);
    }
    timing = &timings->all[timings->count++];
    *timing = (struct tn_timing){.texts = malloc(bytes), .seconds = test->seconds, .result = test->result};
    if (timing->texts == NULL)
        tn_fatal(3, "out of memory: a test's name");
    memcpy(timing->texts, file, lengths[0]);
    memcpy(timing->texts + lengths[0], test->classname, lengths[1]);
    memcpy(timing->texts + lengths[0] + lengths[1], test->name, lengths[2]);
    timing->file = timing->texts;
    timing->classname = timing->file + lengths[0];
    timing->name = timing->classname + lengths[1];
    timings->bytes += bytes;
}

void tn_timings_free(struct tn_timings *timings)
{
    for (size_t i = 0; i < timings->count; i++)
        free(timings->all[i].texts);
    free(timings->all);
    *timings = (struct tn_timings){0};
}

static int by_group(const void *a, const void *b)
{
    const struct tn_timing *left = a;
    const struct tn_timing *right = b;
    int order = strcmp(left->file, right->file);

    if (order == 0 && left->file[0] == '\0')
        order = strcmp(left->classname, right->classname);
    if (order == 0 && left->file[0] == '\0' && left->classname[0] == '\0')
        order = strcmp(left->name, right->name);
    return order;
}

static int by_test(const void *a, const void *b)
{
    const struct tn_timing *left = a;
    const struct tn_timing *right = b;
    int order = strcmp(left->file, right->file);

    if (order == 0)
        order = strcmp(left->classname, right->classname);
    return order != 0 ? order : strcmp(left->name, right->name);
}

/* Sorts, and makes one of what has the same names: parametrized tests, a test and its failed clean-up. */
static void sort_and_sum(struct tn_timings *timings)
{
    size_t kept = 0;

    if (timings->count > 1)
        qsort(timings->all, timings->count, sizeof(*timings->all), by_test);
    for (size_t i = 0; i < timings->count; i++) {
        struct tn_timing *timing = &timings->all[i];

        if (kept == 0 || by_test(&timings->all[kept - 1], timing) != 0) {
            timings->all[kept++] = *timing;
            continue;
        }
        timings->all[kept - 1].seconds += timing->seconds;
        if (timing->result == TN_JUNIT_FAILED || timing->result == TN_JUNIT_ERROR)
            timings->all[kept - 1].result = timing->result;
        free(timing->texts);
    }
    timings->count = kept;
}

/* ---- the file ---- */

static const char *result_word(enum tn_junit_result result)
{
    static const char *const words[] = {"success", "failure", "failure", "skipped"};

    return words[result];
}

static void add_separator(struct tn_buf *out, size_t *count)
{
    if ((*count)++ > 0)
        tn_buf_adds(out, ",\n");
}

static void add_entry(struct tn_buf *out, const struct tn_timing *timing, const struct tn_timings_run *run)
{
    tn_buf_adds(out, "{\"classname\":");
    tn_json_text_string(out, timing->classname);
    tn_buf_adds(out, ",\"file\":");
    if (timing->file[0] != '\0')
        tn_json_text_string(out, timing->file);
    else
        tn_buf_adds(out, "null");
    tn_buf_adds(out, ",\"name\":");
    tn_json_text_string(out, timing->name);
    tn_buf_addf(
        out,
        ",\"result\":\"%s\",\"run_time\":%.9g,\"message\":null,\"source\":\"unknown\",\"source_type\":\"unknown\""
        ",\"run\":",
        result_word(timing->result), timing->seconds);
    tn_json_text_string(out, run->id);
    tn_buf_addf(out, ",\"day\":%lld}", (long long)(run->now / DAY_S));
}

/* Does a line of the old file stay? It may tell a failed run that its tests are known. */
static bool stays(const char *line, size_t length, struct tn_timings *timings, const struct tn_timings_run *run)
{
    auto_json cJSON *json = tn_json_parse(line, length, "a test's time", NULL);
    struct tn_timing old = {.file = tn_json_string(json, "file", ""),
                            .classname = tn_json_string(json, "classname", ""),
                            .name = tn_json_string(json, "name", "")};
    const uint64_t today = run->now / DAY_S;
    struct tn_timing *same;

    if (json == NULL || tn_json_number(json, "day", 0) + (double)run->keep_days < (double)today)
        return false;
    same = timings->count > 0 ? bsearch(&old, timings->all, timings->count, sizeof(old), by_group) : NULL;
    if (same == NULL)
        return true;
    if (strcmp(tn_json_string(json, "run", ""), run->id) == 0)
        return bsearch(&old, timings->all, timings->count, sizeof(old), by_test) == NULL;
    if (!run->failed)
        return false;
    if (same->known) /* with its whole group: to walk through it for each line would be quadratic */
        return true;
    while (same > timings->all && by_group(same - 1, &old) == 0)
        same--;
    for (; same < timings->all + timings->count && by_group(same, &old) == 0 && !same->known; same++)
        same->known = true;
    return true;
}

/* Copies the lines of the old file that stay. A file that is not ours any more is as good as none. */
static void add_old(struct tn_buf *out, size_t *count, const struct tn_buf *old, struct tn_timings *timings,
                    const struct tn_timings_run *run)
{
    const char *at;
    const char *end;

    if (old->len < TAR_BLOCK + strlen(file_head) || strcmp(old->data, entry_name) != 0)
        return;
    at = old->data + TAR_BLOCK + strlen(file_head);
    end = old->data + old->len;
    while (at < end && *at == '{') {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t length = newline != NULL ? (size_t)(newline - at) : (size_t)(end - at);

        if (*count + timings->count >= TN_TIMINGS_MAX || out->len > TN_TIMINGS_BYTES)
            return;
        if (stays(at, length - (at[length - 1] == ','), timings, run)) {
            add_separator(out, count);
            tn_buf_add(out, at, length - (at[length - 1] == ','));
        }
        at += length + 1;
    }
}

/* The header of a tar's only file, POSIX ustar. */
static void make_header(char header[TAR_BLOCK], size_t size, time_t now)
{
    unsigned sum = 0;

    memset(header, 0, TAR_BLOCK);
    memcpy(header, entry_name, sizeof(entry_name));
    snprintf(header + 100, 8, "%07o", 0644);
    snprintf(header + 108, 8, "%07o", 0);
    snprintf(header + 116, 8, "%07o", 0);
    snprintf(header + 124, 12, "%011zo", size);
    snprintf(header + 136, 12, "%011llo", (unsigned long long)now);
    memset(header + 148, ' ', 8);
    header[156] = '0';
    memcpy(header + 257, /* NOLINT(bugprone-not-null-terminated-result): the format wants none */
           "ustar\0"
           "00",
           8);
    for (size_t i = 0; i < TAR_BLOCK; i++)
        sum += (unsigned char)header[i];
    snprintf(header + 148, 8, "%06o", sum);
}

static void merge(struct tn_buf *out, const struct tn_buf *old, struct tn_timings *timings,
                  const struct tn_timings_run *run)
{
    static const char zeros[3 * TAR_BLOCK];
    size_t count = 0;

    tn_buf_add(out, zeros, TAR_BLOCK);
    tn_buf_adds(out, file_head);
    add_old(out, &count, old, timings, run);
    for (size_t i = 0; i < timings->count; i++) {
        if (timings->all[i].known)
            continue;
        add_separator(out, &count);
        add_entry(out, &timings->all[i], run);
    }
    tn_buf_adds(out, file_tail);
    make_header(out->data, out->len - TAR_BLOCK, run->now);
    tn_buf_add(out, zeros, (TAR_BLOCK - out->len % TAR_BLOCK) % TAR_BLOCK + (size_t)2 * TAR_BLOCK);
}

/* Other runs of this user write the same files. The lock goes with the descriptor, whatever becomes of us. */
static int lock_folder(const char *path, struct tn_err *err)
{
    auto_free char *folder = tn_fs_path("%.*s", (int)(strrchr(path, '/') - path), path);
    auto_free char *lock = tn_fs_path("%s/.lock", folder);
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    auto_fd int fd = -1;

    if (tn_fs_make_dirs(folder, 0755, err) != 0)
        return -1;
    fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    for (int tries = 0; fd >= 0; tries++) {
        if (fcntl(fd, F_OFD_SETLK, &whole) == 0)
            return steal_fd(&fd);
        if (tries == LOCK_TRIES || (errno != EAGAIN && errno != EACCES))
            break;
        poll(NULL, 0, LOCK_WAIT_MS);
    }
    return tn_err_sys(err, errno, "cannot lock %s", lock);
}

int tn_timings_keep(const char *path, struct tn_timings *timings, const struct tn_timings_run *run, struct tn_err *err)
{
    auto_buf struct tn_buf old = TN_BUF_INIT;
    auto_buf struct tn_buf out = TN_BUF_INIT;
    auto_fd int lock = -1;

    if (timings->count == 0)
        return 0;
    sort_and_sum(timings);
    lock = lock_folder(path, err);
    if (lock < 0)
        return -1;
    if (access(path, F_OK) == 0 && tn_fs_read(path, FILE_MAX, &old, err) != 0)
        return -1;
    merge(&out, &old, timings, run);
    return tn_fs_write_atomic(path, out.data, out.len, 0644, err);
}

/* ---- reading ---- */

static char *version_of(const struct stat *info)
{
    return tn_fs_path("%llx-%llx.%lx-%llx", (unsigned long long)info->st_ino, (unsigned long long)info->st_mtim.tv_sec,
                      (unsigned long)info->st_mtim.tv_nsec, (unsigned long long)info->st_size);
}

int tn_timings_pin(const char *path, const char *pin, struct tn_err *err)
{
    auto_free char *folder = tn_fs_path("%.*s", (int)(strrchr(pin, '/') - pin), pin);
    auto_buf struct tn_buf content = TN_BUF_INIT;
    auto_fd int fd = -1;

    if (access(pin, F_OK) == 0)
        return 0;
    if (tn_fs_make_dirs(folder, 0755, err) != 0)
        return -1;
    if (link(path, pin) == 0 || errno == EEXIST) /* it is never written in place */
        return 0;
    if (errno == ENOENT) {
        fd = open(pin, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        return fd >= 0 ? 0 : tn_err_sys(err, errno, "cannot write %s", pin);
    }
    return tn_fs_read(path, FILE_MAX, &content, err) == 0
               ? tn_fs_write_atomic(pin, content.data, content.len, 0644, err)
               : -1;
}

char *tn_timings_version(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && S_ISREG(info.st_mode) && info.st_size > 0 ? version_of(&info) : NULL;
}

int tn_timings_read(const char *path, const char *version, uint64_t offset, size_t length, struct tn_buf *out,
                    bool *end, struct tn_err *err)
{
    auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    auto_free char *present = NULL;
    struct stat info;
    ssize_t got;

    if (fd < 0 || fstat(fd, &info) != 0)
        return tn_err_sys(err, errno, "cannot read %s", path);
    present = version_of(&info);
    if (strcmp(present, version) != 0)
        return tn_err_set(err, TN_ERR_NOT_FOUND, "%s was replaced meanwhile", path);
    if (offset > (uint64_t)info.st_size)
        offset = (uint64_t)info.st_size;
    do
        got = pread(fd, tn_buf_reserve(out, length), length, (off_t)offset);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return tn_err_sys(err, errno, "cannot read %s", path);
    out->len += (size_t)got;
    *end = offset + (uint64_t)got >= (uint64_t)info.st_size;
    return 0;
}
