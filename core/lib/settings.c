#include "core/lib/settings.h"

#include "core/lib/units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const shared_folders[] = {"auto", "yes", "no", NULL};
static const char *const limits[] = {"auto", "off", NULL};
static const char *const yes_or_no[] = {"no", "yes", NULL};
static const char *const allow_or_deny[] = {"deny", "allow", NULL};
static const char *const mechanisms[] = {"all",     "user", "capabilities", "no_new_privs", "limits", "mounts",
                                         "network", "ipc",  "landlock",     "seccomp",      NULL};
static const char *const enclosures[] = {"auto", "cgroup", "namespace", "group", NULL};

#define TEXT(name, who, def, text)                                                                                     \
    {                                                                                                                  \
        .path = name, .kind = TN_SETTING_TEXT, .fallback = def, .receivers = who, .doc = text                          \
    }
#define PATH(name, who, text)                                                                                          \
    {                                                                                                                  \
        .path = name, .kind = TN_SETTING_PATH, .fallback = "", .receivers = who, .doc = text                           \
    }
#define TEXTS(name, who, text)                                                                                         \
    {                                                                                                                  \
        .path = name, .kind = TN_SETTING_TEXTS, .fallback = "", .receivers = who, .doc = text                          \
    }
#define LIST(name, who, text)                                                                                          \
    {                                                                                                                  \
        .path = name, .kind = TN_SETTING_LIST, .fallback = "", .receivers = who, .doc = text                           \
    }
#define ITEM(name, kind_, who, text)                                                                                   \
    {                                                                                                                  \
        .path = name, .kind = kind_, .required = true, .receivers = who, .doc = text                                   \
    }
#define EITHER(name, kind_, who, text)                                                                                 \
    {                                                                                                                  \
        .path = name, .kind = kind_, .alternative = true, .receivers = who, .doc = text                                \
    }
#define CHOICE(name, who, list, def, text)                                                                             \
    {                                                                                                                  \
        .path = name, .kind = TN_SETTING_CHOICE, .choices = list, .fallback = def, .receivers = who, .doc = text       \
    }
#define INT(name, who, def, from, to, text)                                                                            \
    {                                                                                                                  \
        .path = name, .kind = TN_SETTING_INT, .fallback = def, .min = from, .max = to, .receivers = who, .doc = text   \
    }
#define DURATION(name, who, def, text)                                                                                 \
    {                                                                                                                  \
        .path = name, .kind = TN_SETTING_DURATION, .fallback = def, .receivers = who, .doc = text                      \
    }
#define SIZE(name, who, def, text)                                                                                     \
    {                                                                                                                  \
        .path = name, .kind = TN_SETTING_SIZE, .fallback = def, .receivers = who, .doc = text                          \
    }

/* clang-format off */
const struct tn_setting tn_settings[] = {
    TEXT("docker.engine", TN_SETTINGS_DOCKER, "",
         "Address of the Docker Engine: unix:///path or tcp://host:port. By default DOCKER_HOST, else "
         "unix:///var/run/docker.sock. Over TCP TLS is needed but on loopback (docker.tls, or DOCKER_TLS_VERIFY and "
         "DOCKER_CERT_PATH); forward the socket of an engine that is reached by ssh."),
    PATH("docker.tls.ca", TN_SETTINGS_DOCKER, "Certificate of the authority that signed the engine's certificate."),
    PATH("docker.tls.certificate", TN_SETTINGS_DOCKER, "Certificate that the engine knows this host by."),
    PATH("docker.tls.key", TN_SETTINGS_DOCKER, "Private key of that certificate."),
    CHOICE("docker.shared_folders", TN_SETTINGS_DOCKER, shared_folders, "auto",
           "Whether the engine sees this host's folders. With `no` the agent is copied into each container and spoken to over "
           "the engine's connection; `auto` finds out."),
    TEXTS("docker.mirrors", TN_SETTINGS_DOCKER,
          "Registries, as host[:port], that are asked for images of docker.io before docker.io itself."),
    LIST("docker.registries[]", TN_SETTINGS_DOCKER,
         "Credentials of the operator for registries, used where a job's config has none."),
    ITEM("docker.registries[].host", TN_SETTING_TEXT, TN_SETTINGS_DOCKER, "The registry, as host[:port]."),
    ITEM("docker.registries[].username", TN_SETTING_TEXT, TN_SETTINGS_DOCKER, "The user's name."),
    ITEM("docker.registries[].password_file", TN_SETTING_PATH, TN_SETTINGS_DOCKER, "A file that holds the password."),
    LIST("docker.images[]", TN_SETTINGS_DOCKER,
         "Other names for the images that configs ask for. The first entry that fits counts. Each has one of `image`, "
         "`prefix` and `pattern`, and `use`."),
    EITHER("docker.images[].image", TN_SETTING_TEXT, TN_SETTINGS_DOCKER,
           "The whole name. It and the two below are held against the name as the config writes it, then against its full form, "
           "such as docker.io/library/alpine:latest."),
    EITHER("docker.images[].prefix", TN_SETTING_TEXT, TN_SETTINGS_DOCKER, "The name's begin; `use` takes its place."),
    EITHER("docker.images[].pattern", TN_SETTING_PATTERN, TN_SETTINGS_DOCKER,
           "A regular expression (PCRE2) for the whole name; in `use`, \\1 to \\9, or $1 to $9, stand for its groups."),
    ITEM("docker.images[].use", TN_SETTING_TEXT, TN_SETTINGS_DOCKER, "What is used instead."),
    INT("docker.pull_attempts", TN_SETTINGS_DOCKER, "5", 1, 20,
        "How often a pull is tried when the registry limits its rate or fails for the moment."),
    DURATION("docker.refresh_after", TN_SETTINGS_DOCKER, "1s",
             "For how long an image that was pulled by a tag is used without asking its registry whether the tag has moved. By "
             "default each job asks."),
    TEXT("docker.ecr_endpoint", TN_SETTINGS_DOCKER, "",
         "Address, as https://host[:port], at which AWS is asked for the tokens of `aws_auth`, for example of a VPC endpoint. By "
         "default that of the registry's region."),
    SIZE("docker.ramdisk", TN_SETTINGS_DOCKER, "0",
         "Size of /mnt/ramdisk in the first container of a job. 0: a quarter of the job's memory."),
    CHOICE("docker.read_only", TN_SETTINGS_DOCKER, yes_or_no, "no",
           "Whether the root file system of a job's first container is read-only. With `yes` only /tmp, /mnt/ramdisk and the "
           "image's volumes can be written to, so `working_directory` has to be in one of them."),
    INT("docker.cleanup.images_above", TN_SETTINGS_DOCKER, "80", 1, 100,
        "Percentage of the engine's disk above which unused images are removed, the least recently used first. Only images "
        "that Tenon pulled are removed."),
    DURATION("docker.cleanup.images_unused_for", TN_SETTINGS_DOCKER, "1h",
             "How long an image must have been unused before it is removed."),
    TEXT("machine.run_as", TN_SETTINGS_MACHINE | TN_SETTINGS_KERNEL, "",
         "User that jobs of the host driver run as. Needs Tenon to be started by root; by default who starts Tenon."),
    TEXTS("machine.command_prefix", TN_SETTINGS_MACHINE | TN_SETTINGS_KERNEL,
          "Program and arguments that are put before each job of the host driver, for example [nice, -n, \"5\"]."),
    CHOICE("machine.limits", TN_SETTINGS_MACHINE, limits, "auto",
           "Whether the host driver limits CPU, memory and processes of a job to its resource class where the host allows it."),
    CHOICE("machine.enclosure", TN_SETTINGS_KERNEL, enclosures, "auto",
           "What keeps the processes of a job of the host driver together: a control group, a process id namespace, or only their "
           "process group and descent. By default the first of these that can be had."),
    CHOICE("network.metadata", TN_SETTINGS_DOCKER | TN_SETTINGS_MACHINE | TN_SETTINGS_KERNEL, allow_or_deny, "deny",
           "Whether jobs reach the addresses at which a cloud tells this host about itself, credentials included: "
           "169.254.169.254, 169.254.170.0/24, 100.100.100.200, 168.63.129.16 and their IPv6 kin; port 53 of them is always "
           "open. On this host that is denied by a BPF program at the job's control group, which needs Tenon to be started by "
           "root and control groups of version 2; in Docker by rules in the container's network. Where it cannot be denied the "
           "job's first step says so."),
    DURATION("jobs.max_run_time", TN_SETTINGS_EXECUTORS, "5h",
             "How long one try of a job may take, from its begin, before it is ended as timed out. No further step of it runs."),
    LIST("checkout.keys[]", TN_SETTINGS_EXECUTORS, "Private SSH keys for `checkout` and `add_ssh_keys`."),
    ITEM("checkout.keys[].host", TN_SETTING_TEXT, TN_SETTINGS_EXECUTORS, "The host that the key is for, as host[:port]; \"*\" for every host."),
    ITEM("checkout.keys[].file", TN_SETTING_PATH, TN_SETTINGS_EXECUTORS,
         "The key, without a passphrase; nobody but its owner may read the file."),
    LIST("checkout.tokens[]", TN_SETTINGS_EXECUTORS, "Tokens for `checkout` over HTTPS."),
    ITEM("checkout.tokens[].host", TN_SETTING_TEXT, TN_SETTINGS_EXECUTORS, "The host, as host[:port]."),
    ITEM("checkout.tokens[].username", TN_SETTING_TEXT, TN_SETTINGS_EXECUTORS, "The user's name; any text for most hosts."),
    ITEM("checkout.tokens[].file", TN_SETTING_PATH, TN_SETTINGS_EXECUTORS,
         "A file that holds the token; nobody but its owner may read it."),
    PATH("checkout.known_hosts", TN_SETTINGS_EXECUTORS,
         "Host keys, as in known_hosts of ssh, that are known besides those of the large hosting services."),
    {.path = "security.require", .kind = TN_SETTING_TEXTS, .choices = mechanisms, .fallback = "",
     .receivers = TN_SETTINGS_KERNEL,
     .doc = "Mechanisms of confinement that every process of Tenon must have: one that lacks one of them is not started, or is "
            "ended when it is found out. What `tenon status` calls not wanted for a process is not demanded of it."},
    DURATION("store.keep.logs", TN_SETTINGS_OUTPUT, "30d", "How long logs are kept."),
    DURATION("store.keep.artifacts", TN_SETTINGS_OUTPUT, "30d", "How long artifacts are kept."),
    DURATION("store.keep.caches", TN_SETTINGS_OUTPUT, "15d", "How long caches are kept."),
    DURATION("store.keep.workspaces", TN_SETTINGS_OUTPUT, "15d", "How long workspaces are kept."),
    DURATION("store.keep.test_results", TN_SETTINGS_OUTPUT, "30d", "How long test results are kept."),
    SIZE("store.project_quota", TN_SETTINGS_OUTPUT, "0",
         "What one project may keep in the store. What is over makes room by its oldest caches. 0: no bound."),
    SIZE("store.reserve", TN_SETTINGS_OUTPUT | TN_SETTINGS_SCHEDULER | TN_SETTINGS_DOCKER, "1GB",
         "Room on a disk below which no further job is begun."),
    SIZE("store.log_limit", TN_SETTINGS_OUTPUT, "0",
         "How many bytes of one step's output are kept, from its beginning. The rest is taken, counted and left out, with a "
         "mark in the log that says how much it was; the step is not held up. 0: no bound."),
};
/* clang-format on */

const size_t tn_settings_count = sizeof(tn_settings) / sizeof(tn_settings[0]);

enum { SEGMENT_MAX = 64 };

unsigned tn_settings_receiver(const char *role)
{
    static const struct {
        const char *role;
        unsigned receiver;
    } receivers[] = {{"executor-docker", TN_SETTINGS_DOCKER},
                     {"executor-machine", TN_SETTINGS_MACHINE},
                     {"output", TN_SETTINGS_OUTPUT},
                     {"scheduler", TN_SETTINGS_SCHEDULER},
                     {"tenond", TN_SETTINGS_KERNEL}};

    for (size_t i = 0; i < sizeof(receivers) / sizeof(receivers[0]); i++)
        if (strcmp(receivers[i].role, role) == 0)
            return receivers[i].receiver;
    return 0;
}

static cJSON *default_of(const struct tn_setting *setting)
{
    double number;

    switch (setting->kind) {
    case TN_SETTING_TEXT:
    case TN_SETTING_PATTERN:
    case TN_SETTING_PATH:
    case TN_SETTING_CHOICE:
        return cJSON_CreateString(setting->fallback);
    case TN_SETTING_INT:
        return cJSON_CreateNumber(strtod(setting->fallback, NULL));
    case TN_SETTING_DURATION:
        return tn_units_duration(setting->fallback, true, &number) ? cJSON_CreateNumber(number) : NULL;
    case TN_SETTING_SIZE:
        return tn_units_size(setting->fallback, &number) ? cJSON_CreateNumber(number) : NULL;
    case TN_SETTING_TEXTS:
    case TN_SETTING_LIST:
        return cJSON_CreateArray();
    }
    return NULL;
}

/* The name of `path`'s first part, without "[]", and what follows it: NULL at the end. */
static const char *first_part(const char *path, char name[SEGMENT_MAX])
{
    size_t length = strcspn(path, ".[");

    snprintf(name, SEGMENT_MAX, "%.*s", (int)length, path);
    path += length;
    if (strncmp(path, "[]", 2) == 0)
        path += 2;
    return *path == '.' ? path + 1 : NULL;
}

static bool in_list(const char *path)
{
    return strstr(path, "[].") != NULL;
}

void tn_settings_fill(cJSON *settings, unsigned receivers)
{
    for (size_t i = 0; i < tn_settings_count; i++) {
        const struct tn_setting *setting = &tn_settings[i];
        const char *rest = setting->path;
        cJSON *in = settings;
        char name[SEGMENT_MAX];

        if ((setting->receivers & receivers) == 0 || setting->fallback == NULL || in_list(setting->path))
            continue;
        while ((rest = first_part(rest, name)) != NULL) {
            cJSON *inner = cJSON_GetObjectItemCaseSensitive(in, name);

            in = inner != NULL ? inner : cJSON_AddObjectToObject(in, name);
        }
        if (cJSON_GetObjectItemCaseSensitive(in, name) == NULL)
            cJSON_AddItemToObject(in, name, default_of(setting));
    }
}

/* A list goes as a whole: its rows have the receivers of the list. */
cJSON *tn_settings_select(const cJSON *all, unsigned receivers)
{
    cJSON *out = cJSON_CreateObject();

    for (size_t i = 0; i < tn_settings_count; i++) {
        const struct tn_setting *setting = &tn_settings[i];
        const char *rest = setting->path;
        const cJSON *from = all;
        cJSON *to = out;
        char name[SEGMENT_MAX];

        if ((setting->receivers & receivers) == 0 || in_list(setting->path))
            continue;
        while (from != NULL && (rest = first_part(rest, name)) != NULL) {
            cJSON *inner = cJSON_GetObjectItemCaseSensitive(to, name);

            from = cJSON_GetObjectItemCaseSensitive(from, name);
            if (from != NULL)
                to = inner != NULL ? inner : cJSON_AddObjectToObject(to, name);
        }
        from = from != NULL ? cJSON_GetObjectItemCaseSensitive(from, name) : NULL;
        if (from != NULL)
            cJSON_AddItemToObject(to, name, cJSON_Duplicate(from, true));
    }
    return out;
}
