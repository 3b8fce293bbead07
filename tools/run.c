/* tenon run: a private tenond, the project's config as one pipeline in it, and what happens there on standard output.
 */
#include "core/lib/buf.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "tools/commands.h"
#include "tools/config_text.h"
#include "tools/disk.h"
#include "tools/follow.h"
#include "tools/narrate.h"
#include "tools/prune.h"
#include "tools/repository.h"
#include "tools/run_help.h"
#include "tools/session.h"
#include "tools/settings.h"
#include "tools/summary.h"
#include "tools/upload.h"
#include "tools/view_ops.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/random.h>
#include <unistd.h>

enum {
    SIGNALS = 3,
    STOP_MS = 20000,   /* for tenond to end in order */
    FORCE_MS = 5000,   /* the same after a second Ctrl-C */
    FORCE_SAY_MS = 500 /* for the forced cancel to be carried out before tenond is told to end */
};

#define SCHEDULER TN_ADDRESS(TN_ROLE_SCHEDULER, 0)

struct run {
    struct options options;
    struct project project;
    struct config_text config;
    cJSON *checkout; /* owned: what jobs clone; NULL: the working tree is stored for them */
    cJSON *settings; /* owned; NULL: all as by default */
    struct folders folders;
    struct event_base *base;
    struct session session;
    bool in_session;
    struct upload *upload;
    struct disk *disk;
    bool has_source; /* the working tree is stored */
    char pipeline[37];
    bool sent;    /* PIPELINE_CREATE */
    bool created; /* it is recorded */
    struct model model;
    struct model_change_sink sink;
    struct follow *follow;
    struct view *view;
    struct narrator narrator;
    unsigned interrupts;
    bool interrupted;
    bool stopping;
    bool failed; /* the installation did; it was said */
    bool complete;
    int exit_code;
    uint64_t begun_ms;
};

/* A random UUID: RFC 4122, section 4.4. */
static void make_uuid(char out[37])
{
    uint8_t b[16];

    if (getrandom(b, sizeof(b), 0) != (ssize_t)sizeof(b))
        tn_fatal(EXIT_INSTALLATION, "the system has no random numbers: %s", strerror(errno));
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3],
             b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

static void leave(struct run *run, int exit_code)
{
    run->exit_code = exit_code;
    event_base_loopbreak(run->base);
}

/* Something of the installation failed: said once, with the end of tenond's log. */
static void broken(struct run *run, const char *text)
{
    char *tail = session_log_tail(&run->session);

    if (run->view != NULL) {
        view_close(run->view); /* so that what follows is not drawn over */
        run->view = NULL;
    }
    fprintf(stderr, "tenon: %s\n%s%s", text, tail[0] != '\0' ? "the end of its log:\n" : "", tail);
    free(tail);
    run->failed = true;
    leave(run, EXIT_INSTALLATION);
}

static void on_death(void *arg, const char *text)
{
    broken(arg, text);
}

/* ---- while the pipeline runs ---- */

static void on_change(void *arg, const struct model_change *change)
{
    struct run *run = arg;

    follow_changed(run->follow, change);
    if (run->view != NULL)
        narrate_change(&run->narrator, change);
}

static void on_output(void *arg, struct follow_source *source, const uint8_t *bytes, size_t length, bool end)
{
    struct run *run = arg;

    if (run->view == NULL)
        return;
    view_output(run->view, source, bytes, length, end);
    if (end)
        narrate_flush(&run->narrator);
}

static void on_follow_failure(void *arg, const struct tn_err *err)
{
    broken(arg, err->text);
}

static void on_complete(void *arg)
{
    struct run *run = arg;

    narrate_flush(&run->narrator);
    run->complete = true;
    leave(run, model_exit_code(&run->model));
}

static void on_event(void *arg, const cJSON *event)
{
    struct run *run = arg;

    follow_event(run->follow, event);
}

static void on_peer(void *arg, uint16_t address, const char *state)
{
    struct run *run = arg;
    char name[32];

    follow_peer(run->follow, address, state);
    if (strcmp(state, "failed") == 0 && (TN_ADDRESS_ROLE(address) != TN_ROLE_EXECUTOR)) {
        char text[128];

        snprintf(text, sizeof(text), "%s has failed again and again and is given up",
                 tn_address_name(address, name, sizeof(name)));
        broken(run, text);
    }
}

static void begin_following(struct run *run)
{
    struct follow_handlers handlers = {
        .on_output = on_output, .on_failure = on_follow_failure, .on_complete = on_complete, .arg = run};

    run->view = view_open(view_choose(run->options.json), run->base, &run->model);
    run->narrator.view = run->view;
    run->follow = follow_start(&run->session, &run->model, &handlers);
    run->narrator.follow = run->follow;
}

/* ---- creating it ---- */

static void on_created(void *arg, const struct tn_msg *reply)
{
    struct run *run = arg;
    struct tn_err err = TN_ERR_INIT;
    auto_json cJSON *body = tn_json_parse(reply->body, reply->header.length, tn_msg_name(reply->header.kind), &err);
    const cJSON *diagnostics;

    if (body == NULL) {
        broken(run, err.text);
        return;
    }
    if (reply->header.kind == TN_MSG_REFUSED) {
        bool invalid = strcmp(tn_json_string(body, "code", ""), "invalid") == 0;

        fprintf(stderr, "tenon: %s\n", tn_json_string(body, "text", "the scheduler refuses the pipeline"));
        leave(run, invalid ? EXIT_USAGE : EXIT_INSTALLATION);
        return;
    }
    diagnostics = tn_json_get(body, "diagnostics");
    config_report(diagnostics, run->options.json);
    if (strcmp(tn_json_string(body, "state", ""), "error") == 0) {
        if (!config_has_errors(diagnostics))
            fprintf(stderr, "tenon: %s: the config is wrong\n", run->config.file);
        leave(run, EXIT_USAGE);
        return;
    }
    run->created = true;
    begin_following(run);
}

static cJSON *project_json(const struct project *project)
{
    cJSON *object = cJSON_CreateObject();

    cJSON_AddStringToObject(object, "slug", project->slug);
    cJSON_AddStringToObject(object, "username", project->username);
    cJSON_AddStringToObject(object, "reponame", project->reponame);
    cJSON_AddStringToObject(object, "repository_url", project->repository_url);
    return object;
}

static cJSON *git_json(const struct project *project)
{
    cJSON *object = cJSON_CreateObject();

    cJSON_AddStringToObject(object, "branch", project->branch);
    cJSON_AddStringToObject(object, "revision", project->revision);
    cJSON_AddStringToObject(object, "tag", project->tag);
    return object;
}

static void create_pipeline(struct run *run)
{
    auto_json cJSON *body = NULL;
    auto_free char *text = NULL;

    if (run->sent)
        return;
    run->sent = true;
    body = config_request(&run->config, &run->options, &run->project, run->pipeline);
    cJSON_AddStringToObject(body, "id", run->pipeline);
    cJSON_AddItemToObject(body, "executor_map", pairs_json(&run->options.executors));
    cJSON_AddItemToObject(body, "environment", pairs_json(&run->options.environment));
    cJSON_AddItemToObject(body, "contexts",
                          run->options.contexts != NULL ? cJSON_Duplicate(run->options.contexts, true)
                                                        : cJSON_CreateObject());
    cJSON_AddItemToObject(body, "project", project_json(&run->project));
    cJSON_AddItemToObject(body, "git", git_json(&run->project));
    if (run->checkout != NULL)
        cJSON_AddItemToObject(body, "checkout", cJSON_Duplicate(run->checkout, true));
    cJSON_AddBoolToObject(body, "source", run->has_source);
    cJSON_AddBoolToObject(body, "wait", false);
    text = tn_json_print(body);
    if (strlen(text) > tn_msg_info(TN_MSG_PIPELINE_CREATE)->max_body) {
        fprintf(stderr, "tenon: config, variables and contexts together are too large: %zu bytes, at most %u\n",
                strlen(text), tn_msg_info(TN_MSG_PIPELINE_CREATE)->max_body);
        leave(run, EXIT_USAGE);
        return;
    }
    tn_peer_request(run->session.bus, TN_MSG_PIPELINE_CREATE, SCHEDULER, 0, 0, text, strlen(text), 0, on_created, run);
}

static void on_uploaded(void *arg, uint64_t size, const struct tn_err *err)
{
    struct run *run = arg;

    upload_close(run->upload);
    run->upload = NULL;
    if (err != NULL) {
        broken(run, err->text);
        return;
    }
    run->has_source = true;
    create_pipeline(run);
}

/* The compiler's word comes long before a large working tree is stored: a wrong config need not wait for it, and a
 * config without `checkout` needs none. Only the scheduler's answer to PIPELINE_CREATE counts. */
static void on_compiled(void *arg, const struct tn_msg *reply)
{
    struct run *run = arg;
    auto_json cJSON *body = NULL;

    if (run->sent || reply->header.kind != TN_MSG_COMPILED)
        return;
    body = tn_json_parse(reply->body, reply->header.length, "COMPILED", NULL);
    if (body == NULL)
        return;
    if (tn_json_get(body, "plan") != NULL && memmem(reply->body, reply->header.length, "\"checkout\"", 10) != NULL)
        return;
    upload_close(run->upload);
    run->upload = NULL;
    create_pipeline(run);
}

static int begin(struct run *run, struct tn_err *err)
{
    auto_json cJSON *body = config_request(&run->config, &run->options, &run->project, run->pipeline);
    auto_free char *text = tn_json_print(body);

    if (run->checkout != NULL) {
        create_pipeline(run);
        return 0;
    }
    if (strlen(text) <= tn_msg_info(TN_MSG_COMPILE)->max_body)
        tn_peer_request(run->session.bus, TN_MSG_COMPILE, TN_ADDRESS(TN_ROLE_COMPILER, 0), 0, 0, text, strlen(text), 0,
                        on_compiled, run);
    run->upload = upload_start(run->base, run->session.data, &run->project, run->pipeline, on_uploaded, run, err);
    return run->upload != NULL ? 0 : -1;
}

/* ---- Ctrl-C ---- */

static void cancel(struct run *run, bool force)
{
    cJSON *body;
    char *text;

    if (run->session.bus == NULL)
        return;
    body = cJSON_CreateObject();
    cJSON_AddStringToObject(body, "id", run->pipeline);
    cJSON_AddBoolToObject(body, "force", force);
    text = tn_json_print(body);
    tn_peer_request(run->session.bus, TN_MSG_PIPELINE_CANCEL, SCHEDULER, 0, 0, text, strlen(text), 0, NULL, NULL);
    free(text);
    cJSON_Delete(body);
}

/* Ends without waiting for what runs. */
static void end_at_once(struct run *run)
{
    struct timeval moment = {0, FORCE_SAY_MS * 1000};

    run->interrupts++;
    cancel(run, true);
    run->exit_code = EXIT_INTERRUPTED;
    event_base_loopexit(run->base, &moment);
}

static void on_disk(void *arg, bool is_full)
{
    struct run *run = arg;

    if (is_full && run->interrupts > 0)
        end_at_once(run);
    else if (run->view == NULL)
        tn_warn("the disk of %s %s", run->folders.state, is_full ? "is full" : "has room again");
    else if (!is_full)
        view_notice(run->view, "there is room on the disk again");
    else
        view_notice(run->view, "the disk of %s is full: jobs cannot go on; cancel (Ctrl-C), free some and run again",
                    run->folders.state);
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    struct run *run = arg;

    run->interrupted = true;
    if (run->stopping) {
        if (run->session.pid != 0)
            kill(run->session.pid, SIGTERM);
    } else if (!run->created) {
        run->interrupts++;
        leave(run, EXIT_INTERRUPTED);
    } else if (run->interrupts == 0 && !disk_is_full(run->disk)) {
        run->interrupts++;
        view_notice(run->view, "canceling; once more (Ctrl-C) ends it at once");
        cancel(run, false);
    } else {
        if (run->interrupts++ == 0)
            view_notice(run->view, "canceling at once: the disk is full, so jobs cannot be ended in order");
        end_at_once(run);
    }
}

/* ---- beginning and end ---- */

static void say_start_failure(struct run *run, const struct tn_err *err)
{
    char *tail;

    run->exit_code = run->interrupted ? EXIT_INTERRUPTED : EXIT_INSTALLATION;
    if (run->interrupted)
        return;
    tail = session_log_tail(&run->session);
    fprintf(stderr, "tenon: %s\n%s", err->text, tail);
    free(tail);
}

static void print_summary(struct run *run)
{
    struct summary summary = {.model = &run->model,
                              .folder = run->folders.state,
                              .exit_code = run->exit_code,
                              .ms = view_ops__now() - run->begun_ms};
    cJSON *object;
    char *text;

    if (!run->options.json) {
        summary_print(&summary, stdout);
        fflush(stdout);
        return;
    }
    object = summary_json(&summary);
    text = tn_json_print(object);
    view_ops__write(text, strlen(text));
    view_ops__write("\n", 1);
    free(text);
    cJSON_Delete(object);
}

static void finish(struct run *run)
{
    bool at_once = run->interrupts > 1 || (run->interrupts > 0 && !run->created);

    if (run->interrupts > 0 && !run->failed)
        run->exit_code = EXIT_INTERRUPTED;
    view_close(run->view);
    run->view = NULL;
    if (run->created)
        print_summary(run);
    run->stopping = true;
    upload_close(run->upload);
    run->upload = NULL;
    follow_close(run->follow);
    run->follow = NULL;
    session_stop(&run->session, at_once ? FORCE_MS : STOP_MS, at_once);
}

static void run_until_over(struct run *run)
{
    run->disk = disk_watch(run->base, run->folders.state, on_disk, run);
    event_base_dispatch(run->base);
    disk_close(run->disk);
    run->disk = NULL;
}

static void in_session(struct run *run)
{
    struct session_handlers handlers = {.on_peer = on_peer, .on_event = on_event, .on_death = on_death, .arg = run};
    struct tn_err err = TN_ERR_INIT;

    make_uuid(run->pipeline);
    run->sink = (struct model_change_sink){on_change, run};
    model_init(&run->model, run->pipeline, &run->sink);
    if (session_start(&run->session, run->base, &run->folders, &handlers, &run->interrupted, &err) != 0)
        say_start_failure(run, &err);
    else if (begin(run, &err) != 0)
        broken(run, err.text);
    else
        run_until_over(run);
    finish(run);
    model_free(&run->model);
    narrate_free(&run->narrator);
}

static void ignore_removed(void *arg, const char *kind, const char *path, uint64_t bytes)
{
}

/* What is past its time goes when a run begins, on this host and in no queue. */
static void prune_old(const cJSON *settings)
{
    auto_free char *home = folders_home();
    struct tn_retention retention = {.keep = tn_keep_read(tn_json_get(settings, "store")),
                                     .now = (uint64_t)time(NULL),
                                     .removed = ignore_removed};

    prune_runs(home, &retention);
    prune_run_folders(&retention);
}

static void with_signals(struct run *run)
{
    static const int numbers[SIGNALS] = {SIGINT, SIGTERM, SIGHUP};
    struct event *events[SIGNALS];
    struct tn_err err = TN_ERR_INIT;

    run->base = event_base_new();
    if (run->base == NULL)
        tn_fatal(EXIT_INSTALLATION, "cannot make an event loop");
    for (size_t i = 0; i < SIGNALS; i++) {
        events[i] = evsignal_new(run->base, numbers[i], on_signal, run);
        if (events[i] == NULL || event_add(events[i], NULL) != 0)
            tn_fatal(EXIT_INSTALLATION, "cannot watch signals");
    }
    prune_old(run->settings);
    if (folders_make(&run->folders, true, &err) != 0 ||
        (run->settings != NULL &&
         settings_hand_over(run->settings, run->folders.run, &run->folders.settings, &err) != 0)) {
        fprintf(stderr, "tenon: %s\n", err.text);
        run->exit_code = EXIT_INSTALLATION;
    } else {
        in_session(run);
    }
    folders_close(&run->folders);
    for (size_t i = 0; i < SIGNALS; i++)
        event_free(events[i]);
    event_base_free(run->base);
}

static void run_project(struct run *run)
{
    struct tn_err err = TN_ERR_INIT;

    run->begun_ms = view_ops__now();
    if (run->options.folder != NULL && chdir(run->options.folder) != 0) {
        fprintf(stderr, "tenon: -C %s: %s\n", run->options.folder, strerror(errno));
        run->exit_code = EXIT_USAGE;
    } else if (project_find(&run->project, ".", &err) != 0 ||
               config_read(&run->config, &run->options, &run->project, ".", &err) != 0 ||
               settings_load(run->options.settings, run->options.json, &run->settings, NULL, &err) != 0) {
        fprintf(stderr, "tenon: %s\n", err.text);
        run->exit_code = EXIT_USAGE;
    } else if (run->options.repository != NULL &&
               (run->checkout = repository_find(&run->options, run->settings, &run->project, &err)) == NULL) {
        fprintf(stderr, "tenon: %s\n", err.text);
        run->exit_code = err.code == TN_ERR_USAGE ? EXIT_USAGE : EXIT_INSTALLATION;
    } else {
        if (run->checkout == NULL && run->project.is_git && !run->project.has_git)
            tn_warn("git is not installed: branch and revision are unknown, and jobs get ignored files, too");
        with_signals(run);
    }
    cJSON_Delete(run->checkout);
    cJSON_Delete(run->settings);
    config_free(&run->config);
    project_free(&run->project);
}

int command_run(int argc, char **argv)
{
    struct run *run = calloc(1, sizeof(*run));
    struct tn_err err = TN_ERR_INIT;
    int code;

    if (run == NULL)
        tn_fatal(EXIT_INSTALLATION, "out of memory");
    if (options_run(&run->options, argc, argv, &err) != 0) {
        fprintf(stderr, "tenon: %s\nTry `tenon run --help`.\n", err.text);
        run->exit_code = EXIT_USAGE;
    } else if (run->options.help) {
        fputs(run_help, stdout);
    } else {
        run_project(run);
    }
    code = run->exit_code;
    options_free(&run->options);
    free(run);
    return code;
}
