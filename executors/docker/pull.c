#include "executors/docker/pull.h"

#include "core/lib/cleanup.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "executors/docker/credentials.h"
#include "executors/docker/driver.h"
#include "executors/docker/ecr.h"
#include "executors/docker/environment.h"
#include "executors/docker/pull_error.h"
#include "executors/docker/pull_progress.h"
#include "executors/docker/registry_auth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

enum {
    ASK_MS = 30000,
    PULL_MS = 3600 * 1000,
    SAY_MS = 5000,         /* between two lines about a pull */
    STALL_S = 300,         /* without a word of the engine about a pull */
    QUIET_MS = 300 * 1000, /* a registry that did not answer is not asked for newer images */
    BACKOFF_MS = 1000,     /* before the second attempt; doubled for each further one */
    BACKOFF_MAX_MS = 60 * 1000,
};

/* A place that the image can come from: the mirrors, then what was asked for. */
struct candidate {
    struct tn_image_ref ref;
    bool is_mirror;
    bool is_final; /* it failed so that asking again is of no use */
};

struct tn_docker_pull {
    struct tn_docker *docker;               /* borrowed, as the next two */
    const struct tn_container_image *image; /* what the config asks for */
    const cJSON *lease;
    struct tn_docker_pull_then then;
    struct candidate candidates[TN_DOCKER_MIRRORS_MAX + 1];
    size_t n_candidates;
    size_t at;
    bool elsewhere; /* docker.images gives another registry than the config names */

    bool is_here; /* candidates[here] is in the engine */
    size_t here;
    bool refreshing; /* it is asked whether its tag has moved */
    bool pulled;
    int attempt; /* counts from 1 */
    bool infrastructure;
    bool passes; /* of a fault of this attempt */
    long retry_after_ms;

    struct tn_engine_call *call;
    struct tn_ecr_call *ecr;
    struct event *timer; /* owned; the begin, the next attempt */
    struct event *stall; /* owned */
    struct tn_credentials credentials;
    struct tn_pull_progress progress;
    uint64_t began_ms;
    uint64_t said_ms;
    char said[TN_PULL_TEXT_MAX];
};

static void look(struct tn_docker_pull *pull);
static void try_candidate(struct tn_docker_pull *pull);

/* ---- words and the end ---- */

static void say(struct tn_docker_pull *pull, const char *fmt, ...) TN_PRINTF(2, 3);
static void say(struct tn_docker_pull *pull, const char *fmt, ...)
{
    char text[1400];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    pull->then.say(text, pull->then.arg);
}

static struct candidate *current(struct tn_docker_pull *pull)
{
    return &pull->candidates[pull->at];
}

static void name_of(const struct candidate *candidate, char name[TN_IMAGE_REF_TEXT_MAX + 1])
{
    tn_image_ref_format(&candidate->ref, name, TN_IMAGE_REF_TEXT_MAX + 1);
}

void tn_docker_pull_cancel(struct tn_docker_pull *pull)
{
    if (pull->call != NULL)
        tn_engine_cancel(pull->call);
    if (pull->ecr != NULL)
        tn_ecr_cancel(pull->ecr);
    event_free(pull->timer);
    event_free(pull->stall);
    tn_credentials_clear(&pull->credentials);
    free(pull);
}

static void finish(struct tn_docker_pull *pull, const struct tn_docker_pulled *result)
{
    struct tn_docker_pull_then then = pull->then;
    struct tn_image_ref ref = {0};
    struct tn_docker_pulled copy = *result;

    if (result->ref != NULL) {
        ref = *result->ref; /* it lies in what is freed */
        copy.ref = &ref;
    }
    tn_docker_pull_cancel(pull);
    then.done(&copy, then.arg);
}

static void fail(struct tn_docker_pull *pull, bool retry, const char *text)
{
    finish(pull, &(struct tn_docker_pulled){.error = text, .retry = retry});
}

/* A request to the engine that is about no registry. */
static void fail_engine(struct tn_docker_pull *pull, int status, const struct tn_err *err)
{
    finish(pull, &(struct tn_docker_pulled){.error = err->text,
                                            .retry = err->code != TN_ERR_CONFIG && err->code != TN_ERR_NOT_FOUND,
                                            .engine_gone = status == 0 && err->code == TN_ERR_UNAVAILABLE});
}

/* ---- it is there ---- */

/* The digest by which the image's registry knows it; "" if it came from none. */
static void digest_of(const struct tn_image_ref *ref, const cJSON *image, char digest[TN_IMAGE_REF_DIGEST_MAX + 1])
{
    const cJSON *item;

    snprintf(digest, TN_IMAGE_REF_DIGEST_MAX + 1, "%s", ref->digest);
    cJSON_ArrayForEach (item, tn_json_get(image, "RepoDigests")) {
        struct tn_image_ref known;

        if (digest[0] == '\0' && cJSON_IsString(item) && tn_image_ref_parse(item->valuestring, &known, NULL) == 0 &&
            strcmp(known.registry, ref->registry) == 0 && strcmp(known.repository, ref->repository) == 0)
            snprintf(digest, TN_IMAGE_REF_DIGEST_MAX + 1, "%s", known.digest);
    }
}

static void use(struct tn_docker_pull *pull, size_t index, const cJSON *image, bool checked)
{
    struct candidate *candidate = &pull->candidates[index];
    const char *id = tn_json_string(image, "Id", "");
    char digest[TN_IMAGE_REF_DIGEST_MAX + 1];
    char name[TN_IMAGE_REF_TEXT_MAX + 1];

    name_of(candidate, name);
    digest_of(&candidate->ref, image, digest);
    tn_docker_images_used(&pull->docker->images, name, id, pull->pulled, checked);
    if (digest[0] == '\0')
        say(pull, "Using image %s (id %.19s; it came from no registry)", name, id);
    else
        say(pull, "Using image %s%s%s", name, candidate->ref.digest[0] == '\0' ? "@" : "",
            candidate->ref.digest[0] == '\0' ? digest : "");
    finish(pull, &(struct tn_docker_pulled){.ref = &candidate->ref, .image = image});
}

/* What there is must do: its registry was asked in vain, or the tag has not moved. */
static void on_again(int status, const cJSON *json, const struct tn_err *err, void *arg)
{
    struct tn_docker_pull *pull = arg;

    pull->call = NULL;
    if (err != NULL)
        fail_engine(pull, status, err);
    else
        use(pull, pull->here, json, pull->pulled);
}

static void use_what_is_here(struct tn_docker_pull *pull)
{
    pull->call = tn_engine_image_inspect(pull->docker->engine, &pull->candidates[pull->here].ref,
                                         TN_ENGINE_THEN(ASK_MS, on_again, pull));
}

/* ---- an attempt ---- */

static void say_progress(const struct tn_docker_progress *line, void *arg)
{
    struct tn_docker_pull *pull = arg;
    struct timeval stall = {STALL_S, 0};
    uint64_t now = tn_docker_now_ms();
    char name[TN_IMAGE_REF_TEXT_MAX + 1];
    char text[sizeof(pull->said)];

    evtimer_add(pull->stall, &stall);
    tn_pull_progress_add(&pull->progress, line);
    if (now - pull->said_ms < SAY_MS ||
        !tn_pull_progress_text(&pull->progress, now - pull->began_ms, text, sizeof(text)) ||
        strcmp(text, pull->said) == 0)
        return;
    pull->said_ms = now;
    snprintf(pull->said, sizeof(pull->said), "%s", text);
    name_of(current(pull), name);
    say(pull, "Pulling image %s: %s", name, text);
}

static long backoff_ms(const struct tn_docker_pull *pull)
{
    int doublings = pull->attempt - 1 < 6 ? pull->attempt - 1 : 6;
    long wait = (long)BACKOFF_MS << doublings;
    unsigned char noise = 0;

    if (wait > BACKOFF_MAX_MS)
        wait = BACKOFF_MAX_MS;
    /* Jobs that were turned away together ought not to come back together. */
    if (getrandom(&noise, 1, 0) == 1)
        wait += wait * noise / 1024;
    return pull->retry_after_ms > wait ? pull->retry_after_ms : wait;
}

/* All places were asked. `text` says what the last one answered. */
static void attempt_failed(struct tn_docker_pull *pull, const char *text)
{
    int attempts = pull->docker->images.attempts;
    long wait = backoff_ms(pull);
    struct timeval delay = {wait / 1000, wait % 1000 * 1000};
    char last[1200];

    if (pull->refreshing) {
        use_what_is_here(pull);
        return;
    }
    if (!pull->passes || pull->attempt >= attempts) {
        snprintf(last, sizeof(last), "%s%s", text, pull->passes && attempts > 1 ? "; all attempts failed" : "");
        /* What passes was waited for long enough: the scheduler's attempts would only multiply the waits. */
        fail(pull, pull->infrastructure && !pull->passes, last);
        return;
    }
    say(pull, "Attempt %d of %d failed: %s; the next one follows in %ld.%ld s", pull->attempt, attempts, text,
        wait / 1000, wait % 1000 / 100);
    pull->attempt++;
    pull->at = 0;
    evtimer_add(pull->timer, &delay);
}

/* One place has failed: the next, or the end of the attempt. */
static void place_failed(struct tn_docker_pull *pull, bool passes, bool answered, bool infrastructure, const char *text)
{
    bool last = pull->at + 1 == pull->n_candidates;

    tn_credentials_clear(&pull->credentials);
    current(pull)->is_final = !passes;
    pull->passes = pull->passes || passes;
    pull->infrastructure = pull->infrastructure || infrastructure;
    if (last && answered)
        pull->refreshing = false; /* what the registry refuses today is not taken from yesterday's */
    if (pull->refreshing && last) {
        struct tn_docker_images *images = &pull->docker->images;

        say(pull, "It could not be asked whether there is a newer image: %s. The one that is here is used", text);
        if (infrastructure) {
            snprintf(images->quiet_registry, sizeof(images->quiet_registry), "%s", current(pull)->ref.registry);
            images->quiet_until_ms = tn_docker_now_ms() + QUIET_MS;
        }
    }
    if (last) {
        attempt_failed(pull, text);
        return;
    }
    say(pull, "Mirror %s is of no use: %s. The next one is asked", current(pull)->ref.registry, text);
    pull->at++;
    try_candidate(pull);
}

static void pull_failed(struct tn_docker_pull *pull, int status, const char *words)
{
    const char *whose = pull->credentials.username != NULL ? pull->credentials.whose : NULL;
    enum tn_pull_fault fault = tn_pull_fault_of(status, words, whose != NULL);
    long wait = tn_pull_retry_after_ms(words);
    char text[1100];

    if (wait > pull->retry_after_ms)
        pull->retry_after_ms = wait;
    tn_pull_fault_text(fault, &current(pull)->ref, words, whose, text, sizeof(text));
    place_failed(pull, tn_pull_fault_passes(fault), tn_pull_fault_is_answer(fault),
                 tn_pull_fault_is_infrastructure(fault), text);
}

static void on_new_image(int status, const cJSON *json, const struct tn_err *err, void *arg)
{
    struct tn_docker_pull *pull = arg;

    pull->call = NULL;
    if (err != NULL)
        fail_engine(pull, status, err);
    else
        use(pull, pull->at, json, true);
}

static void on_pulled(int status, const cJSON *json, const struct tn_err *err, void *arg)
{
    struct tn_docker_pull *pull = arg;
    uint64_t took_ms = tn_docker_now_ms() - pull->began_ms;
    char name[TN_IMAGE_REF_TEXT_MAX + 1];
    char text[sizeof(pull->said)];

    pull->call = NULL;
    evtimer_del(pull->stall);
    if (err != NULL && status == 0) {
        fail_engine(pull, status, err);
        return;
    }
    if (err != NULL) {
        pull_failed(pull, status, err->text);
        return;
    }
    name_of(current(pull), name);
    pull->pulled = true;
    if (tn_pull_progress_text(&pull->progress, 0, text, sizeof(text)))
        say(pull, "Pulled image %s in %.1f s: %s", name, (double)took_ms / 1000.0, text);
    else if (pull->is_here)
        say(pull, "Image %s is up to date", name);
    else
        say(pull, "Pulled image %s in %.1f s: all of it is here under another name", name, (double)took_ms / 1000.0);
    pull->call =
        tn_engine_image_inspect(pull->docker->engine, &current(pull)->ref, TN_ENGINE_THEN(ASK_MS, on_new_image, pull));
}

static void on_stall(evutil_socket_t fd, short what, void *arg)
{
    struct tn_docker_pull *pull = arg;
    char words[100];

    tn_engine_cancel(pull->call);
    pull->call = NULL;
    snprintf(words, sizeof(words), "no progress for %d s: timeout", STALL_S);
    pull_failed(pull, 0, words);
}

static void pull_candidate(struct tn_docker_pull *pull)
{
    struct candidate *candidate = current(pull);
    struct timeval stall = {STALL_S, 0};
    char name[TN_IMAGE_REF_TEXT_MAX + 1];
    char *auth = NULL;

    name_of(candidate, name);
    if (pull->credentials.username != NULL) {
        auth = tn_registry_auth_new(&candidate->ref, pull->credentials.username, pull->credentials.password);
        say(pull, "Pulling image %s as %s", name, pull->credentials.whose);
    } else {
        say(pull, "Pulling image %s", name);
    }
    memset(&pull->progress, 0, sizeof(pull->progress));
    pull->said[0] = '\0';
    pull->began_ms = pull->said_ms = tn_docker_now_ms();
    evtimer_add(pull->stall, &stall);
    pull->call = tn_engine_image_pull(pull->docker->engine, &candidate->ref, auth, say_progress,
                                      TN_ENGINE_THEN(PULL_MS, on_pulled, pull));
    tn_credentials_wipe(auth);
}

/* ---- whose credentials ---- */

static void on_ecr(const struct tn_credentials *credentials, const struct tn_err *err, bool passes, void *arg)
{
    struct tn_docker_pull *pull = arg;

    pull->ecr = NULL;
    if (err != NULL) {
        place_failed(pull, passes, !passes, passes, err->text);
        return;
    }
    pull->credentials = *credentials;
    pull_candidate(pull);
}

/* `aws_auth`: a token for the registry is asked of AWS first. */
static int ask_ecr(struct tn_docker_pull *pull, struct tn_err *err)
{
    const struct tn_container_image *image = pull->image;
    const char *registry = current(pull)->ref.registry;
    struct tn_ecr_request request = {.endpoint = pull->docker->images.ecr_endpoint};
    int rc = -1;

    if (image->aws_role != NULL)
        return tn_err_set(
            err, TN_ERR_CONFIG,
            "`aws_auth` names a role (`oidc_role_arn`), which needs an identity token that AWS trusts, and "
            "this installation issues none; give `aws_access_key_id` and `aws_secret_access_key`, or "
            "credentials in docker.registries of tenon.yaml");
    if (!tn_ecr_host_parse(registry, &request.host) &&
        !(pull->elsewhere && tn_ecr_host_parse(image->ref.registry, &request.host)))
        return tn_err_set(err, TN_ERR_CONFIG,
                          "`aws_auth` is for registries ACCOUNT.dkr.ecr.REGION.amazonaws.com, and this is %.100s; give "
                          "`auth`",
                          registry);
    request.key_id = tn_credentials_value(pull->lease, "aws_access_key_id", image->aws_key_id, err);
    if (request.key_id != NULL)
        request.secret = tn_credentials_value(pull->lease, "aws_secret_access_key", image->aws_secret, err);
    if (request.secret != NULL)
        pull->ecr = tn_ecr_ask(tn_executor_service(pull->docker->executor)->base, &request, on_ecr, pull, err);
    if (pull->ecr != NULL)
        rc = 0;
    free(request.key_id);
    tn_credentials_wipe(request.secret);
    return rc;
}

/* The config's are for the registry that the config names, and for what docker.images puts in its place unless the
 * operator has credentials for that; a mirror gets only what the operator gives for it. */
static int find_credentials(struct tn_docker_pull *pull, struct tn_err *err)
{
    const struct tn_container_image *image = pull->image;
    const struct candidate *candidate = current(pull);
    int found = 0;

    if (candidate->is_mirror || pull->elsewhere ||
        (image->username == NULL && image->aws_key_id == NULL && image->aws_role == NULL))
        found = tn_credentials_of_operator(pull->docker->images.registries, candidate->ref.registry, &pull->credentials,
                                           err);
    if (found != 0 || candidate->is_mirror)
        return found < 0 ? -1 : 0;
    if (image->username != NULL)
        return tn_credentials_of_config(pull->lease, image->username, image->password, &pull->credentials, err);
    return image->aws_role != NULL || image->aws_key_id != NULL ? ask_ecr(pull, err) : 0;
}

static void try_candidate(struct tn_docker_pull *pull)
{
    char text[TN_IMAGE_REF_TEXT_MAX + 1200];
    char name[TN_IMAGE_REF_TEXT_MAX + 1];
    struct tn_err err = TN_ERR_INIT;

    while (pull->at + 1 < pull->n_candidates && current(pull)->is_final)
        pull->at++;
    tn_credentials_clear(&pull->credentials);
    if (find_credentials(pull, &err) != 0) {
        name_of(current(pull), name);
        snprintf(text, sizeof(text), "image %s: %s", name, err.text);
        place_failed(pull, false, true, err.code != TN_ERR_CONFIG, text);
    } else if (pull->ecr == NULL) {
        pull_candidate(pull);
    }
}

static void begin_attempt(struct tn_docker_pull *pull)
{
    pull->at = 0;
    pull->passes = pull->infrastructure = false;
    pull->retry_after_ms = -1;
    try_candidate(pull);
}

/* ---- is it there already? ---- */

/* Tenon pulled it by a tag, and it is time to ask whether the tag has moved. */
static bool is_to_be_refreshed(struct tn_docker_pull *pull, const struct candidate *candidate, const cJSON *image)
{
    const struct tn_docker_images *images = &pull->docker->images;
    char name[TN_IMAGE_REF_TEXT_MAX + 1];
    struct tn_image_record record;
    int64_t age;

    name_of(candidate, name);
    if (candidate->ref.digest[0] != '\0' || images->folder == NULL ||
        !tn_image_record_get(images->folder, name, tn_json_string(image, "Id", ""), &record))
        return false;
    age = (int64_t)time(NULL) - record.checked;
    if (age >= 0 && age < images->refresh_after_s) /* one of the future was written by a clock that was wrong */
        return false;
    if (strcmp(images->quiet_registry, candidate->ref.registry) == 0 && tn_docker_now_ms() < images->quiet_until_ms) {
        say(pull, "Registry %s did not answer a moment ago: it is not asked for a newer image", images->quiet_registry);
        return false;
    }
    return true;
}

static void on_looked(int status, const cJSON *json, const struct tn_err *err, void *arg)
{
    struct tn_docker_pull *pull = arg;

    pull->call = NULL;
    if (err != NULL && err->code != TN_ERR_NOT_FOUND) {
        fail_engine(pull, status, err);
        return;
    }
    if (err != NULL) {
        pull->at++;
        look(pull);
        return;
    }
    pull->is_here = true;
    pull->here = pull->at;
    pull->refreshing = is_to_be_refreshed(pull, current(pull), json);
    if (pull->refreshing)
        begin_attempt(pull);
    else
        use(pull, pull->here, json, false);
}

static void look(struct tn_docker_pull *pull)
{
    if (pull->at == pull->n_candidates)
        begin_attempt(pull);
    else
        pull->call =
            tn_engine_image_inspect(pull->docker->engine, &current(pull)->ref, TN_ENGINE_THEN(ASK_MS, on_looked, pull));
}

/* ---- what is asked for ---- */

/* host[:port], with what the image is called on Docker Hub. */
static void add_mirror(struct tn_docker_pull *pull, const char *mirror, const struct tn_image_ref *origin)
{
    struct candidate *candidate = &pull->candidates[pull->n_candidates];

    if (strlen(mirror) + 1 + strlen(origin->repository) > TN_IMAGE_REF_NAME_MAX)
        return;
    candidate->ref = *origin;
    snprintf(candidate->ref.registry, sizeof(candidate->ref.registry), "%s", mirror);
    candidate->is_mirror = true;
    pull->n_candidates++;
}

static int find_candidates(struct tn_docker_pull *pull, struct tn_err *err)
{
    const struct tn_docker_images *images = &pull->docker->images;
    char name[TN_IMAGE_REF_TEXT_MAX + 1];
    struct tn_image_ref used;
    const cJSON *mirror;
    int entry;

    if (images->map == NULL)
        return tn_err_set(err, TN_ERR_UNAVAILABLE, "%s", images->error);
    entry = tn_image_map_apply(images->map, pull->image->text, &used, err);
    if (entry < 0)
        return -1;
    pull->elsewhere = strcmp(used.registry, pull->image->ref.registry) != 0;
    if (entry > 0) {
        tn_image_ref_format(&used, name, sizeof(name));
        say(pull, "Image %s: %s is used for it (docker.images in tenon.yaml, entry %d)", pull->image->text, name,
            entry);
    }
    if (strcmp(used.registry, "docker.io") == 0)
        cJSON_ArrayForEach (mirror, images->mirrors)
            if (cJSON_IsString(mirror) && pull->n_candidates < TN_DOCKER_MIRRORS_MAX)
                add_mirror(pull, mirror->valuestring, &used);
    pull->candidates[pull->n_candidates++].ref = used;
    return 0;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct tn_docker_pull *pull = arg;
    struct tn_err err = TN_ERR_INIT;

    if (pull->n_candidates > 0)
        begin_attempt(pull);
    else if (find_candidates(pull, &err) != 0)
        fail(pull, err.code != TN_ERR_CONFIG, err.text);
    else
        look(pull);
}

struct tn_docker_pull *tn_docker_pull_start(struct tn_docker *docker, const struct tn_container_image *image,
                                            const cJSON *lease, struct tn_docker_pull_then then)
{
    struct tn_docker_pull *pull = calloc(1, sizeof(*pull));
    struct event_base *base = tn_executor_service(docker->executor)->base;
    struct timeval now = {0, 0};

    if (pull == NULL || (pull->timer = evtimer_new(base, on_timer, pull)) == NULL ||
        (pull->stall = evtimer_new(base, on_stall, pull)) == NULL)
        tn_fatal(3, "out of memory: a pull");
    pull->docker = docker;
    pull->image = image;
    pull->lease = lease;
    pull->then = then;
    pull->attempt = 1;
    evtimer_add(pull->timer, &now);
    return pull;
}
