#include "core/kernel/status.h"
#include "core/kernel/mechanisms.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum { WRITE_MS = 10 };

/* Adds what the bus counted: all of it since that bus was started, but `cut` since tenond was. */
static void add_traffic(cJSON *item, const cJSON *traffic, unsigned cuts)
{
    static const char *const members[] = {"messages", "bytes", "refused", "dropped"};

    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
        cJSON_AddNumberToObject(item, members[i], tn_json_number(traffic, members[i], 0));
    if (tn_json_get(traffic, "refused_why") != NULL)
        cJSON_AddItemToObject(item, "refused_why", cJSON_Duplicate(tn_json_get(traffic, "refused_why"), true));
    cJSON_AddNumberToObject(item, "cut", cuts);
}

static void add_client(cJSON *body, const struct tn_kernel *kernel)
{
    cJSON *item = cJSON_CreateObject();

    cJSON_AddNumberToObject(item, "address", kernel->client);
    add_traffic(item, kernel->client_traffic, kernel->client_cut ? 1 : 0);
    cJSON_AddItemToArray(cJSON_AddArrayToObject(body, "clients"), item);
}

static void add_mechanisms(cJSON *item, const cJSON *mechanisms)
{
    cJSON_AddItemToObject(item, "mechanisms",
                          mechanisms != NULL ? cJSON_Duplicate(mechanisms, true) : cJSON_CreateArray());
}

static cJSON *process(const struct tn_worker *worker)
{
    cJSON *item = cJSON_CreateObject();

    cJSON_AddStringToObject(item, "name", worker->name);
    cJSON_AddNumberToObject(item, "address", worker->address);
    cJSON_AddStringToObject(item, "state", tn_sup_state_name(worker->sup.state));
    cJSON_AddNumberToObject(item, "pid", worker->pid);
    cJSON_AddNumberToObject(item, "life", worker->life);
    cJSON_AddNumberToObject(item, "restarts", worker->sup.restarts);
    cJSON_AddStringToObject(item, "confinement", worker->confinement != NULL ? worker->confinement : "");
    add_mechanisms(item, worker->mechanisms);
    if (worker->reason[0] != '\0')
        cJSON_AddStringToObject(item, "reason", worker->reason);
    add_traffic(item, worker->traffic, worker->cuts);
    return item;
}

cJSON *tn_status_body(const struct tn_kernel *kernel)
{
    cJSON *body = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(body, "processes");
    auto_json cJSON *own = tn_mechanisms_own();
    cJSON *tenond = cJSON_AddObjectToObject(body, "tenond");
    char programs[512];

    for (size_t i = 0; i < kernel->count; i++)
        cJSON_AddItemToArray(list, process(&kernel->workers[i]));
    add_client(body, kernel);
    cJSON_AddStringToObject(body, "programs", tn_programs_text(kernel->programs, programs, sizeof(programs)));
    cJSON_AddNumberToObject(tenond, "pid", getpid());
    add_mechanisms(tenond, own);
    return body;
}

/* Whole or not at all; not durable, since it means nothing once tenond is gone. */
static int replace_file(const char *path, const char *text)
{
    auto_free char *temporary = tn_fs_path("%s.tmp", path);
    auto_fd int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

    return fd >= 0 && tn_fs_write_all(fd, text, strlen(text), NULL) == 0 && rename(temporary, path) == 0 ? 0 : -1;
}

void tn_status_write(struct tn_kernel *kernel)
{
    const struct tn_kernel_config *config = kernel->config;
    auto_json cJSON *body = tn_status_body(kernel);
    auto_free char *path = tn_fs_path("%s/status.json", config->run_dir);
    auto_free char *text = NULL;

    cJSON_AddStringToObject(body, "installation", config->installation);
    cJSON_AddBoolToObject(body, "private", config->is_private);
    cJSON_AddStringToObject(body, "run", config->run_dir);
    cJSON_AddStringToObject(body, "state", config->state_dir);
    cJSON_AddStringToObject(body, "store", config->store_dir);
    text = tn_json_print(body);
    if (replace_file(path, text) != 0)
        tn_warn("cannot write %s: %s", path, strerror(errno));
    if (kernel->status_timer != NULL)
        event_del(kernel->status_timer);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    tn_status_write(arg);
}

void tn_status_changed(struct tn_kernel *kernel)
{
    const struct timeval soon = {0, WRITE_MS * 1000};

    if (kernel->status_timer == NULL && (kernel->status_timer = evtimer_new(kernel->base, on_timer, kernel)) == NULL)
        tn_fatal(3, "out of memory for a timer");
    if (!event_pending(kernel->status_timer, EV_TIMEOUT, NULL))
        event_add(kernel->status_timer, &soon);
}
