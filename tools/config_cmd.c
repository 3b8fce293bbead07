/* tenon config validate|process: the compiler of a private tenond reads the file, as in every other command. */
#include "core/compiler/compiler.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "tools/commands.h"
#include "tools/config_text.h"
#include "tools/session.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ANSWER_MS = 60000, STOP_MS = 5000 };

static const char help_text[] =
    "Usage: tenon config validate [FILE] [--json]\n"
    "       tenon config process [FILE] [--param NAME=VALUE]...\n"
    "\n"
    "validate says whether the config is right, and shows what is wrong with file, line and column.\n"
    "process prints the config with everything expanded.\n"
    "Without FILE, .circleci/config.yml is looked for as `tenon run` does.\n"
    "\n"
    "  -p, --param NAME=VALUE  value of a pipeline parameter\n"
    "      --workflow NAME     only this workflow\n"
    "      --job NAME          only this job\n"
    "  -C, --directory DIR     as if called in DIR\n"
    "      --json              one JSON object a line on standard output\n"
    "  -h, --help              this text\n"
    "\n"
    "Exit status: 0 the config is right, 2 it is wrong or the command line is, 3 the installation failed.\n";

struct work {
    struct event_base *base;
    struct session session;
    const struct options *options;
    const char *file;
    bool process;
    bool interrupted;
    int exit_code;
};

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    struct work *work = arg;

    work->interrupted = true;
    work->exit_code = EXIT_INTERRUPTED;
    event_base_loopbreak(work->base);
}

static void on_death(void *arg, const char *text)
{
    struct work *work = arg;
    char *tail = session_log_tail(&work->session);

    fprintf(stderr, "tenon: %s; the end of its log:\n%s", text, tail);
    free(tail);
    work->exit_code = EXIT_INSTALLATION;
    event_base_loopbreak(work->base);
}

static int print_processed(const cJSON *plan)
{
    char *yaml = tn_plan_to_yaml(plan);

    if (yaml == NULL) {
        fprintf(stderr, "tenon: the compiler's plan cannot be printed; please report this\n");
        return EXIT_INSTALLATION;
    }
    fputs(yaml, stdout);
    free(yaml);
    return EXIT_SUCCEEDED;
}

static int conclude(const struct work *work, const cJSON *body)
{
    const cJSON *diagnostics = tn_json_get(body, "diagnostics");
    const cJSON *plan = tn_json_get(body, "plan");
    bool valid = plan != NULL && !config_has_errors(diagnostics);

    config_report(diagnostics, work->options->json);
    if (valid && work->process)
        return print_processed(plan);
    if (work->options->json)
        printf("{\"type\":\"result\",\"valid\":%s}\n", valid ? "true" : "false");
    else if (valid)
        printf("%s is valid\n", work->file);
    return valid ? EXIT_SUCCEEDED : EXIT_USAGE;
}

static void on_compiled(void *arg, const struct tn_msg *reply)
{
    struct work *work = arg;
    struct tn_err err = TN_ERR_INIT;
    auto_json cJSON *body = NULL;

    event_base_loopbreak(work->base);
    work->exit_code = EXIT_INSTALLATION;
    if (reply == NULL) {
        fprintf(stderr, "tenon: the compiler has not answered for %d s\n", ANSWER_MS / 1000);
        return;
    }
    body = tn_json_parse(reply->body, reply->header.length, tn_msg_name(reply->header.kind), &err);
    if (body == NULL)
        fprintf(stderr, "tenon: the compiler's answer: %s\n", err.text);
    else if (reply->header.kind == TN_MSG_REFUSED)
        fprintf(stderr, "tenon: the compiler does not take this config: %s\n",
                tn_json_string(body, "text", "no reason given"));
    else
        work->exit_code = conclude(work, body);
}

/* Starts tenond, asks, waits for the answer. */
static int compile(struct work *work, const struct folders *folders, const cJSON *request)
{
    struct session_handlers handlers = {.on_death = on_death, .arg = work};
    struct tn_err err = TN_ERR_INIT;
    char *text;

    if (session_start(&work->session, work->base, folders, &handlers, &work->interrupted, &err) != 0) {
        char *tail = session_log_tail(&work->session);

        if (!work->interrupted)
            fprintf(stderr, "tenon: %s\n%s", err.text, tail);
        free(tail);
        work->exit_code = work->interrupted ? EXIT_INTERRUPTED : EXIT_INSTALLATION;
    } else {
        text = tn_json_print(request);
        tn_peer_request(work->session.bus, TN_MSG_COMPILE, TN_ADDRESS(TN_ROLE_COMPILER, 0), 0, 0, text, strlen(text),
                        ANSWER_MS, on_compiled, work);
        free(text);
        event_base_dispatch(work->base);
    }
    session_stop(&work->session, STOP_MS, false);
    return work->exit_code;
}

static int in_session(struct work *work, const cJSON *request)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct event *events[3];
    struct folders folders;
    struct tn_err err = TN_ERR_INIT;
    int code;

    work->base = event_base_new();
    if (work->base == NULL)
        tn_fatal(3, "cannot make an event loop");
    for (size_t i = 0; i < 3; i++) {
        events[i] = evsignal_new(work->base, signals[i], on_signal, work);
        if (events[i] == NULL || event_add(events[i], NULL) != 0)
            tn_fatal(3, "cannot watch signals");
    }
    if (folders_make(&folders, false, &err) != 0) {
        fprintf(stderr, "tenon: %s\n", err.text);
        code = EXIT_INSTALLATION;
    } else {
        code = compile(work, &folders, request);
    }
    folders_close(&folders);
    for (size_t i = 0; i < 3; i++)
        event_free(events[i]);
    event_base_free(work->base);
    return code;
}

static int config_work(struct options *options, bool process)
{
    struct work work = {.options = options, .process = process};
    struct project project;
    struct config_text config = {NULL, TN_BUF_INIT};
    struct tn_err err = TN_ERR_INIT;
    cJSON *request;
    int code;

    if (options->folder != NULL && chdir(options->folder) != 0) {
        fprintf(stderr, "tenon: -C %s: %s\n", options->folder, strerror(errno));
        return EXIT_USAGE;
    }
    if (project_find(&project, ".", &err) != 0 || config_read(&config, options, &project, ".", &err) != 0) {
        fprintf(stderr, "tenon: %s\n", err.text);
        code = EXIT_USAGE;
    } else {
        work.file = config.file;
        request = config_request(&config, options, &project, "00000000-0000-0000-0000-000000000000");
        code = in_session(&work, request);
        cJSON_Delete(request);
    }
    config_free(&config);
    project_free(&project);
    return code;
}

int command_config(int argc, char **argv)
{
    struct options options = {0};
    struct tn_err err = TN_ERR_INIT;
    bool process;
    int code;

    if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(help_text, stdout);
        return EXIT_SUCCEEDED;
    }
    process = argc >= 2 && strcmp(argv[1], "process") == 0;
    if (argc < 2 || (!process && strcmp(argv[1], "validate") != 0)) {
        if (argc < 2)
            fprintf(stderr, "tenon config: expected `validate` or `process`\n");
        else
            fprintf(stderr, "tenon config: there is no command \"%s\"; expected `validate` or `process`\n", argv[1]);
        fputs("Try `tenon config --help`.\n", stderr);
        return EXIT_USAGE;
    }
    if (options_config(&options, argc - 1, argv + 1, &err) != 0) {
        fprintf(stderr, "tenon: %s\nTry `tenon config --help`.\n", err.text);
        code = EXIT_USAGE;
    } else if (options.help) {
        fputs(help_text, stdout);
        code = EXIT_SUCCEEDED;
    } else {
        code = config_work(&options, process);
    }
    options_free(&options);
    return code;
}
