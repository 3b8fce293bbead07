#include "executors/agent/split.h"
#include "core/lib/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define TASKS_MAX 100000
#define INPUT_MAX (64u * 1024u * 1024u)

static const char *const type_names[] = {"autodetect", "filename", "classname", "testname"};

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

/* A plain decimal number that is not negative; *end is behind it, or at `text` if there is none. strtod() would double
 * the size of what this needs. */
static double parse_decimal(const char *text, char **end)
{
    double value = 0;
    double place = 1;
    const char *at = text;

    for (; *at >= '0' && *at <= '9' && value < 1e15; at++)
        value = value * 10 + (*at - '0');
    if (*at == '.' && at[1] >= '0' && at[1] <= '9')
        for (at++; *at >= '0' && *at <= '9'; at++)
            value += (place /= 10) * (*at - '0');
    *end = (char *)at;
    return value;
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

static int by_name(const void *key, const void *item)
{
    return strcmp(key, ((const struct tn_split_item *)item)->name);
}

/* Cuts "SECONDS\tA\tB\tC" into its fields; false if it is not such a line. */
static bool cut_line(char *line, double *seconds, char *fields[4])
{
    char *end;

    *seconds = parse_decimal(line, &end);
    if (end == line || *end != '\t' || *seconds > 1e9)
        return false;
    end++;
    for (int i = 1; i < 4; i++) {
        fields[i] = end != NULL ? strsep(&end, "\t") : NULL;
        if (fields[i] != NULL && fields[i][0] == '\0')
            fields[i] = NULL;
    }
    return true;
}

size_t tn_split_timings(char *text, enum tn_timing_type *type, struct tn_split_item *items, size_t count)
{
    auto_free double(*found)[4] = calloc(count + 1, sizeof(*found));
    size_t known[4] = {0};
    char *line;

    if (found == NULL)
        return 0;
    for (size_t i = 0; i < count; i++)
        found[i][1] = found[i][2] = found[i][3] = -1;
    while ((line = strsep(&text, "\n")) != NULL) {
        char *fields[4];
        double seconds;

        if (!cut_line(line, &seconds, fields))
            continue;
        for (int kind = 1; kind < 4; kind++) {
            struct tn_split_item *item =
                fields[kind] != NULL ? bsearch(fields[kind], items, count, sizeof(*items), by_name) : NULL;

            if (item == NULL)
                continue;
            known[kind] += found[item - items][kind] < 0;
            found[item - items][kind] = (found[item - items][kind] < 0 ? 0 : found[item - items][kind]) + seconds;
        }
    }
    if (*type == TN_TIMING_AUTO) {
        *type = TN_TIMING_FILE;
        for (int kind = 2; kind < 4; kind++)
            if (known[kind] > known[*type])
                *type = (enum tn_timing_type)kind;
    }
    for (size_t i = 0; i < count; i++)
        items[i].weight = found[i][*type];
    return known[*type];
}

void tn_split_names(const char *text, struct tn_words *names)
{
    const char *marks = "\r\n";
    struct stat info;
    size_t first = strcspn(text, "\r\n");

    if (text[first + strspn(text + first, "\r\n")] == '\0') {
        auto_free char *line = strndup(text, first);

        if (line != NULL && stat(line, &info) != 0) /* one file whose name has blanks is one name */
            marks = " \t\r\n";
    }
    while (*(text += strspn(text, marks)) != '\0') {
        size_t len = strcspn(text, marks);

        tn_words_add(names, text, len);
        text += len;
    }
}

struct split_options {
    int index;
    int total;
    enum { BY_NAME, BY_FILESIZE, BY_TIMINGS } by;
    enum tn_timing_type type;
    double time_default;      /* seconds; -1: the mean of what is known */
    const char *timings_file; /* borrowed; NULL: the job's */
    bool show_counts;
};

static int split_usage(const char *what, const char *value)
{
    fprintf(
        stderr,
        "Error: %s%s%s\n"
        "usage: circleci tests split [OPTIONS] [FILE]     names come from FILE or standard input, one a line\n"
        "  --index=N --total=N       this task and how many there are; default CIRCLE_NODE_INDEX, CIRCLE_NODE_TOTAL\n"
        "  --split-by=name|filesize|timings\n"
        "  --timings-type=autodetect|filename|classname|testname\n"
        "  --timings-file=PATH --time-default=DURATION (such as 10s) --show-counts\n",
        what, value != NULL ? " " : "", value != NULL ? value : "");
    return 2;
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
        double value = parse_decimal(text, &end);
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

static int take_option(int option, struct split_options *options)
{
    static const char *const by_names[] = {"name", "filesize", "timings"};
    int number = 0;

    switch (option) {
    case 'i':
        return (options->index = parse_int(optarg, 0, TASKS_MAX)) < 0 ? split_usage("--index must be a number:", optarg)
                                                                      : 0;
    case 't':
        return (options->total = parse_int(optarg, 1, TASKS_MAX)) < 0
                   ? split_usage("--total must be a number above 0:", optarg)
                   : 0;
    case 'b':
        options->by = (number = choose(optarg, by_names, 3)) < 0 ? BY_NAME : number;
        return number < 0 ? split_usage("--split-by must be name, filesize or timings, not", optarg) : 0;
    case 'y':
        options->type = (number = choose(optarg, type_names, 4)) < 0 ? TN_TIMING_AUTO : (enum tn_timing_type)number;
        return number < 0
                   ? split_usage("--timings-type must be autodetect, filename, classname or testname, not", optarg)
                   : 0;
    case 'd':
        return (options->time_default = parse_duration(optarg)) < 0
                   ? split_usage("--time-default must be a duration such as 10s:", optarg)
                   : 0;
    case 'f':
        options->timings_file = optarg;
        return 0;
    case 'c':
        options->show_counts = true;
        return 0;
    default:
        return split_usage("unknown option or missing value", NULL);
    }
}

static int parse_options(int argc, char **argv, struct split_options *options)
{
    static const struct option names[] = {
        {"index", required_argument, NULL, 'i'},        {"total", required_argument, NULL, 't'},
        {"split-by", required_argument, NULL, 'b'},     {"timings-type", required_argument, NULL, 'y'},
        {"time-default", required_argument, NULL, 'd'}, {"timings-file", required_argument, NULL, 'f'},
        {"show-counts", no_argument, NULL, 'c'},        {NULL, 0, NULL, 0},
    };
    const char *index = getenv("CIRCLE_NODE_INDEX");
    const char *total = getenv("CIRCLE_NODE_TOTAL");
    int option;

    *options = (struct split_options){.time_default = -1};
    options->index = index != NULL && index[0] != '\0' ? parse_int(index, 0, TASKS_MAX) : 0;
    options->total = total != NULL && total[0] != '\0' ? parse_int(total, 1, TASKS_MAX) : 1;
    opterr = 0;
    while ((option = getopt_long(argc, argv, "", names, NULL)) >= 0)
        if (take_option(option, options) != 0)
            return 2;
    if (options->index < 0 || options->total < 0)
        return split_usage("CIRCLE_NODE_INDEX and CIRCLE_NODE_TOTAL must be numbers", NULL);
    if (options->index >= options->total)
        return split_usage("--index counts from 0 and must be below --total", NULL);
    return 0;
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

/* False if there are no timings at all. */
static bool weigh_by_time(const struct split_options *options, struct tn_split_item *items, size_t count)
{
    const char *data = getenv("CIRCLE_INTERNAL_TASK_DATA");
    enum tn_timing_type type = options->type;
    char path[PATH_MAX];
    auto_buf struct tn_buf text = TN_BUF_INIT;
    auto_fd int fd = -1;
    size_t known;
    double mean = options->time_default;

    snprintf(path, sizeof(path), "%s/circle-test-results/timings", data != NULL ? data : "");
    fd = open(options->timings_file != NULL ? options->timings_file : path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || tn_read_all(fd, "the timings", &text, NULL) != 0)
        return false;
    known = tn_split_timings(text.data, &type, items, count);
    if (known == 0)
        return false;
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

static void split_items(const struct split_options *options, struct tn_split_item *items, size_t count)
{
    bool weighed = options->by == BY_FILESIZE;

    if (options->by == BY_FILESIZE)
        weigh_by_size(items, count);
    if (options->by == BY_TIMINGS && !(weighed = weigh_by_time(options, items, count)))
        fprintf(stderr, "No timings found, splitting by name.\n");
    if (weighed)
        tn_split_even(items, count, options->total);
    for (size_t i = 0; i < count && !weighed; i++)
        items[i].task = (int)(i % (size_t)options->total);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(((const struct tn_split_item *)a)->name, ((const struct tn_split_item *)b)->name);
}

static int split_text(const struct split_options *options, const char *text)
{
    struct tn_words names = {NULL, 0, 0};
    size_t chosen = 0;

    tn_split_names(text, &names);
    auto_free struct tn_split_item *items = calloc(names.count + 1, sizeof(*items));
    if (items == NULL)
        return 1;
    for (size_t i = 0; i < names.count; i++)
        items[i].name = names.all[i];
    qsort(items, names.count, sizeof(*items), by_bytes);
    split_items(options, items, names.count);
    for (size_t i = 0; i < names.count; i++) {
        if (items[i].task != options->index)
            continue;
        puts(items[i].name);
        chosen++;
    }
    if (options->show_counts)
        fprintf(stderr, "Using %zu of %zu tests (task %d of %d).\n", chosen, names.count, options->index + 1,
                options->total);
    tn_words_free(&names);
    return fflush(stdout) == 0 ? 0 : 1;
}

int tn_split_command(int argc, char **argv)
{
    struct split_options options;
    auto_buf struct tn_buf text = TN_BUF_INIT;
    struct tn_err err = TN_ERR_INIT;
    auto_fd int fd = -1;

    /* getopt starts behind argv[0]; the caller's argv[-1] is "split". */
    if (parse_options(argc + 1, argv - 1, &options) != 0)
        return 2;
    argv += optind - 1;
    argc -= optind - 1;
    if (argc > 1)
        return split_usage("more than one file:", argv[1]);
    if (argc == 1 && (fd = open(argv[0], O_RDONLY | O_CLOEXEC)) < 0) {
        fprintf(stderr, "Error: cannot read the list of tests %s: %s\n", argv[0], strerror(errno));
        return 1;
    }
    if (tn_read_all(fd >= 0 ? fd : STDIN_FILENO, argc == 1 ? argv[0] : "standard input", &text, &err) != 0) {
        fprintf(stderr, "Error: %s\n", err.text);
        return 1;
    }
    return split_text(&options, text.data);
}
