#include "executors/agent/split.h"
#include "core/lib/cleanup.h"
#include "core/lib/log.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TASKS_MAX 100000
#ifndef TN_VERSION
#define TN_VERSION "unknown"
#endif
#define INPUT_MAX (64u * 1024u * 1024u)

/* By enum tn_timing_type; then the words of `tests run` for the same. */
static const char *const type_names[] = {"autodetect", "filename", "classname", "testname",
                                         "none",       "file",     "class",     "name"};

int tn_read_all(int fd, const char *what, struct tn_buf *out, struct tn_err *err)
{
    ssize_t got;

    while ((got = read(fd, tn_buf_reserve(out, 65536), 65536)) > 0) {
        out->len += (size_t)got;
        if (out->len > INPUT_MAX)
            return tn_err_set(err, TN_ERR_LIMIT, "%s is larger than %u bytes", what, INPUT_MAX);
    }
    if (got < 0)
        return tn_err_sys(err, errno, "cannot read %s", what);
    tn_buf_add(out, "", 0);
    return 0;
}

const char *tn_split_key(const char *name, const char *cwd)
{
    size_t length = strlen(cwd);

    if (length > 1 && strncmp(name, cwd, length) == 0 && name[length] == '/')
        name += length + 1;
    while (name[0] == '.' && name[1] == '/')
        name += 2;
    return name;
}

static int by_weight(const void *a, const void *b)
{
    const struct tn_split_item *x = *(struct tn_split_item *const *)a;
    const struct tn_split_item *y = *(struct tn_split_item *const *)b;

    if (x->weight != y->weight)
        return x->weight > y->weight ? -1 : 1;
    return strcmp(x->name, y->name);
}

void tn_split_even(struct tn_split_item *items, size_t count, int total)
{
    auto_free struct tn_split_item **order = calloc(count + 1, sizeof(*order));
    auto_free double *sums = calloc((size_t)total, sizeof(*sums));

    if (order == NULL || sums == NULL) {
        for (size_t i = 0; i < count; i++)
            items[i].task = (int)(i % (size_t)total);
        return;
    }
    for (size_t i = 0; i < count; i++)
        order[i] = &items[i];
    qsort(order, count, sizeof(struct tn_split_item *), by_weight);
    for (size_t i = 0; i < count; i++) {
        int least = 0;

        for (int task = 1; task < total; task++)
            if (sums[task] < sums[least])
                least = task;
        order[i]->task = least;
        sums[least] += order[i]->weight;
    }
}

static int by_key(const void *key, const void *item)
{
    return strcmp(key, ((const struct tn_split_item *)item)->key);
}

struct lookup {
    const char *cwd;
    struct tn_split_item *items;
    size_t count;
    double (*found)[4]; /* of each item, by the field it was found in; below 0: not */
    size_t known[4];
};

static void look_up(void *arg, double seconds, char *const fields[4])
{
    struct lookup *lookup = arg;

    for (int kind = 1; kind < 4; kind++) {
        const char *key = fields[kind];
        struct tn_split_item *item;
        double *found;

        if (key == NULL)
            continue;
        if (kind == TN_TIMING_FILE)
            key = tn_split_key(key, lookup->cwd);
        item = bsearch(key, lookup->items, lookup->count, sizeof(*item), by_key);
        if (item == NULL)
            continue;
        found = &lookup->found[item - lookup->items][kind];
        lookup->known[kind] += *found < 0;
        *found = (*found < 0 ? 0 : *found) + seconds;
    }
}

size_t tn_split_timings(char *text, const char *cwd, enum tn_timing_type *type, struct tn_split_item *items,
                        size_t count)
{
    auto_free double(*found)[4] = calloc(count + 1, sizeof(*found));
    struct lookup lookup = {cwd, items, count, found, {0}};

    if (found == NULL)
        return 0;
    for (size_t i = 0; i < count; i++)
        found[i][1] = found[i][2] = found[i][3] = -1;
    tn_timings_read(text, look_up, &lookup);
    if (*type == TN_TIMING_AUTO) {
        *type = TN_TIMING_FILE;
        for (int kind = 2; kind < 4; kind++)
            if (lookup.known[kind] > lookup.known[*type])
                *type = (enum tn_timing_type)kind;
    }
    for (size_t i = 0; i < count; i++)
        items[i].weight = found[i][*type];
    return lookup.known[*type];
}

void tn_split_names(const char *text, bool blanks, struct tn_words *names)
{
    size_t first = strcspn(text, "\r\n");

    blanks = blanks || text[first + strspn(text + first, "\r\n")] == '\0';
    while (*(text += strspn(text, "\r\n")) != '\0') {
        size_t length = strcspn(text, "\r\n");
        size_t before = names->count;
        struct stat info;

        tn_words_add(names, text, length);
        if (blanks && strpbrk(names->all[before], " \t") != NULL && stat(names->all[before], &info) != 0) {
            free(names->all[--names->count]); /* no file whose name has blanks */
            for (const char *at = text; (at += strspn(at, " \t")) < text + length; at += strcspn(at, " \t\r\n"))
                tn_words_add(names, at, strcspn(at, " \t\r\n"));
        }
        text += length;
    }
}

struct options {
    int index;
    int total;
    enum { BY_NAME, BY_FILESIZE, BY_TIMINGS } by;
    enum tn_timing_type type;
    double time_default;      /* seconds; -1: the mean of what is known */
    const char *timings_file; /* borrowed; NULL: the job's */
    bool show_counts;
    bool runs; /* `tests run` */
    const char *command;
    bool verbose;
};

enum { GO_ON = -1 }; /* else the exit status is known */

static int usage(const struct options *options, const char *what, const char *value)
{
    FILE *to = what != NULL ? stderr : stdout;

    if (what != NULL)
        fprintf(to, "Error: %s%s%s\n", what, value != NULL ? " " : "", value != NULL ? value : "");
    fprintf(to,
            "usage: circleci tests %s\n"
            "  --index=N --total=N       default: CIRCLE_NODE_INDEX, CIRCLE_NODE_TOTAL\n"
            "  --split-by=name|filesize|timings\n"
            "  --timings-type=autodetect|filename|classname|testname\n"
            "  --timings-file=PATH --time-default=DURATION (such as 10s) --show-counts\n",
            options->runs ? "run --command=COMMAND [-v] [OPTIONS] [FILE]     names reach COMMAND one a line"
                          : "split [OPTIONS] [FILE]     names from FILE or standard input, one a line");
    return what != NULL ? 2 : 0;
}

static int parse_int(const char *text, int min, int max)
{
    char *end;
    long value;

    errno = 0;
    value = strtol(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && value >= min && value <= max ? (int)value : -1;
}

/* "1m30s", "1.5h", "200ms"; a bare number is seconds. -1 if it is none of these. */
static double parse_duration(const char *text)
{
    static const struct {
        const char *unit;
        double seconds;
    } units[] = {{"ms", 1e-3}, {"us", 1e-6}, {"ns", 1e-9}, {"h", 3600}, {"m", 60}, {"s", 1}};
    double sum = 0;

    do {
        char *end;
        double value = tn_parse_decimal(text, &end);
        size_t unit = 0;

        if (end == text || value > 1e9)
            return -1;
        if (*end == '\0')
            return sum + value;
        while (unit < 6 && strncmp(end, units[unit].unit, strlen(units[unit].unit)) != 0)
            unit++;
        if (unit == 6)
            return -1;
        sum += value * units[unit].seconds;
        text = end + strlen(units[unit].unit);
    } while (*text != '\0');
    return sum;
}

/* Place of `word` among `count` words, -1 if it is not there. */
static int choose(const char *word, const char *const *words, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(word, words[i]) == 0)
            return i;
    return -1;
}

static int take_option(int option, struct options *options)
{
    static const char *const by_names[] = {"name", "filesize", "timings"};
    int number = 0;

    switch (option) {
    case 'i':
        options->index = parse_int(optarg, 0, TASKS_MAX);
        return options->index < 0 ? usage(options, "--index must be a number:", optarg) : GO_ON;
    case 't':
        options->total = parse_int(optarg, 1, TASKS_MAX);
        return options->total < 0 ? usage(options, "--total must be a number above 0:", optarg) : GO_ON;
    case 'b':
        options->by = (number = choose(optarg, by_names, 3)) < 0 ? BY_NAME : number;
        return number < 0 ? usage(options, "--split-by must be name, filesize or timings, not", optarg) : GO_ON;
    case 'y':
        number = choose(optarg, type_names, options->runs ? 8 : 4);
        options->type = (enum tn_timing_type)(number & 3);
        return number < 0
                   ? usage(options, "--timings-type must be autodetect, filename, classname or testname, not", optarg)
                   : GO_ON;
    case 'd':
        options->time_default = parse_duration(optarg);
        return options->time_default < 0 ? usage(options, "--time-default must be a duration such as 10s:", optarg)
                                         : GO_ON;
    case 'f':
        options->timings_file = optarg;
        return GO_ON;
    case 'n':
        options->show_counts = true;
        return GO_ON;
    case 'c':
        options->command = optarg;
        return GO_ON;
    case 'v':
        options->verbose = true;
        return GO_ON;
    case 'V':
        puts(TN_VERSION);
        return 0;
    case 'h':
        return usage(options, NULL, NULL);
    default:
        return usage(options, "unknown option or missing value", NULL);
    }
}

/* The first three options are those that only `tests run` has. */
static int parse_options(int argc, char **argv, struct options *options)
{
    static const struct option names[] = {
        {"command", required_argument, NULL, 'c'},
        {"verbose", no_argument, NULL, 'v'},
        {"version", no_argument, NULL, 'V'},
        {"index", required_argument, NULL, 'i'},
        {"total", required_argument, NULL, 't'},
        {"split-by", required_argument, NULL, 'b'},
        {"timings-type", required_argument, NULL, 'y'},
        {"time-default", required_argument, NULL, 'd'},
        {"timings-file", required_argument, NULL, 'f'},
        {"show-counts", no_argument, NULL, 'n'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    const char *index = getenv("CIRCLE_NODE_INDEX");
    const char *total = getenv("CIRCLE_NODE_TOTAL");
    int option;
    int status;

    options->time_default = -1;
    options->index = index != NULL && index[0] != '\0' ? parse_int(index, 0, TASKS_MAX) : 0;
    options->total = total != NULL && total[0] != '\0' ? parse_int(total, 1, TASKS_MAX) : 1;
    opterr = 0;
    while ((option = getopt_long(argc, argv, options->runs ? "hv" : "h", options->runs ? names : names + 3, NULL)) >= 0)
        if ((status = take_option(option, options)) != GO_ON)
            return status;
    if (options->runs && options->command == NULL)
        return usage(options, "required flag(s) \"command\" not set", NULL);
    if (options->index < 0 || options->total < 0)
        return usage(options, "CIRCLE_NODE_INDEX and CIRCLE_NODE_TOTAL must be numbers", NULL);
    if (options->runs && options->total == 1)
        options->index = 0; /* all of them, whatever is said: so it is used to make another tool split */
    if (options->index >= options->total)
        return usage(options, "--index counts from 0 and must be below --total", NULL);
    return GO_ON;
}

static void weigh_by_size(struct tn_split_item *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct stat info;

        if (stat(items[i].name, &info) == 0)
            items[i].weight = (double)info.st_size;
        else
            fprintf(stderr, "Warning: no size of \"%s\": %s; counted as 0\n", items[i].name, strerror(errno));
    }
}

/* The timings' text, empty if there is none. */
static void read_timings(const struct options *options, struct tn_buf *text)
{
    const char *data = getenv("CIRCLE_INTERNAL_TASK_DATA");
    char path[PATH_MAX];
    auto_fd int fd = -1;

    snprintf(path, sizeof(path), "%s/circle-test-results/results.json", data != NULL ? data : "");
    fd = open(options->timings_file != NULL ? options->timings_file : path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || tn_read_all(fd, "the timings", text, NULL) != 0)
        tn_buf_reset(text);
    tn_buf_add(text, "", 0);
}

/* False if nothing is known of any. */
static bool weigh_by_time(const struct options *options, const char *cwd, struct tn_split_item *items, size_t count)
{
    enum tn_timing_type type = options->type;
    auto_buf struct tn_buf text = TN_BUF_INIT;
    size_t known;
    double mean = options->time_default;

    read_timings(options, &text);
    known = tn_split_timings(text.data, cwd, &type, items, count);
    if (known == 0) {
        fputs(options->type == TN_TIMING_AUTO ? "Error autodetecting timing type, falling back to weighting by name. "
                                                "Autodetect no matching filename or classname.\n"
                                              : "Requested historical based timing, but they are not present.  "
                                                "Falling back to name based sorting\n",
              stderr);
        return false;
    }
    if (options->type == TN_TIMING_AUTO)
        fprintf(stderr, "Autodetected %s timings.\n", type_names[type]);
    if (mean < 0) {
        mean = 0;
        for (size_t i = 0; i < count; i++)
            mean += items[i].weight > 0 ? items[i].weight / (double)known : 0;
    }
    for (size_t i = 0; i < count; i++) {
        if (items[i].weight >= 0)
            continue;
        fprintf(stderr, "No timing found for \"%s\"\n", items[i].name);
        items[i].weight = mean;
    }
    return true;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(((const struct tn_split_item *)a)->key, ((const struct tn_split_item *)b)->key);
}

/* Adds this task's share of the names, one a line, to `out`. Returns how many they are. */
static size_t split_names(const struct options *options, const struct tn_words *names, struct tn_buf *out)
{
    auto_free struct tn_split_item *items = calloc(names->count + 1, sizeof(*items));
    char cwd[PATH_MAX];
    bool weighed = options->by == BY_FILESIZE;
    size_t chosen = 0;

    if (items == NULL)
        tn_fatal(1, "out of memory for %zu names", names->count);
    if (getcwd(cwd, sizeof(cwd)) == NULL)
        cwd[0] = '\0';
    for (size_t i = 0; i < names->count; i++) {
        items[i].name = names->all[i];
        items[i].key = tn_split_key(names->all[i], cwd);
    }
    qsort(items, names->count, sizeof(*items), by_bytes);
    if (options->by == BY_FILESIZE)
        weigh_by_size(items, names->count);
    if (options->by == BY_TIMINGS)
        weighed = names->count > 0 && weigh_by_time(options, cwd, items, names->count);
    if (weighed)
        tn_split_even(items, names->count, options->total);
    for (size_t i = 0; i < names->count; i++) {
        if (!weighed)
            items[i].task = (int)(i % (size_t)options->total);
        if (items[i].task != options->index)
            continue;
        tn_buf_adds(out, items[i].name);
        tn_buf_adds(out, "\n");
        chosen++;
    }
    if (options->show_counts)
        fprintf(stderr, "Using %zu of %zu tests (task %d of %d).\n", chosen, names->count, options->index + 1,
                options->total);
    return chosen;
}

/* Gives the names to the command, which a shell runs. Its exit status is ours. */
static int run_command(const char *command, const struct tn_buf *names)
{
    const char *shell = access("/bin/bash", X_OK) == 0 ? "/bin/bash" : "/bin/sh";
    size_t sent = 0;
    int status;
    int ends[2];
    pid_t child;

    fflush(stdout);
    if (pipe2(ends, O_CLOEXEC) != 0 || (child = fork()) < 0) {
        fprintf(stderr, "Error: cannot start the command: %s\n", strerror(errno));
        return 1;
    }
    if (child == 0) {
        dup2(ends[0], STDIN_FILENO);
        execv(shell, (char *[]){(char *)shell, "-c", (char *)command, NULL});
        fprintf(stderr, "Error: cannot start %s: %s\n", shell, strerror(errno));
        _exit(127);
    }
    close(ends[0]);
    signal(SIGPIPE, SIG_IGN); /* it need not read them */
    while (sent < names->len) {
        ssize_t put = write(ends[1], names->data + sent, names->len - sent);

        if (put < 0 && errno != EINTR)
            break;
        sent += put > 0 ? (size_t)put : 0;
    }
    close(ends[1]);
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return 1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int run_names(const struct options *options, const struct tn_words *names)
{
    auto_buf struct tn_buf share = TN_BUF_INIT;

    if (names->count == 0)
        fputs("WARN No test names found in input source. If you were expecting test names, please check your input "
              "source.\n",
              stderr);
    if (split_names(options, names, &share) == 0) {
        puts("There were no tests found");
        return 0;
    }
    if (options->verbose)
        fprintf(stderr, "INFO starting execution\nDEBUG Received: %s", share.data);
    return run_command(options->command, &share);
}

static int act(struct options *options, int argc, char **argv)
{
    auto_buf struct tn_buf text = TN_BUF_INIT;
    auto_buf struct tn_buf share = TN_BUF_INIT;
    struct tn_words names = {NULL, 0, 0};
    struct tn_err err = TN_ERR_INIT;
    auto_fd int fd = -1;
    /* getopt starts behind argv[0]; the caller's argv[-1] is the verb. */
    int status = parse_options(argc + 1, argv - 1, options);

    if (status != GO_ON)
        return status;
    argv += optind - 1;
    argc -= optind - 1;
    if (argc > 1)
        return usage(options, "more than one file:", argv[1]);
    if (argc == 1 && (fd = open(argv[0], O_RDONLY | O_CLOEXEC)) < 0) {
        fprintf(stderr, "Error: cannot read the list of tests %s: %s\n", argv[0], strerror(errno));
        return 1;
    }
    if (options->verbose && argc == 0)
        fputs("DEBUG Attempting to read from stdin. This will hang if no input is provided.\n", stderr);
    if (tn_read_all(fd >= 0 ? fd : STDIN_FILENO, argc == 1 ? argv[0] : "standard input", &text, &err) != 0) {
        fprintf(stderr, "Error: %s\n", err.text);
        return 1;
    }
    tn_split_names(text.data, options->runs, &names);
    if (options->runs) {
        status = run_names(options, &names);
    } else {
        split_names(options, &names, &share);
        status =
            share.len == 0 || (fwrite(share.data, 1, share.len, stdout) == share.len && fflush(stdout) == 0) ? 0 : 1;
    }
    tn_words_free(&names);
    return status;
}

int tn_split_command(int argc, char **argv)
{
    struct options options = {.runs = false};

    return act(&options, argc, argv);
}

int tn_run_command(int argc, char **argv)
{
    struct options options = {.runs = true};

    return act(&options, argc, argv);
}
