/* What executors may ask tenond of the host: other runs, disks. */
#include "core/kernel/host.h"
#include "core/kernel/mounts.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "tests/unit/check.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

static char folder[] = "/tmp/host-test.XXXXXX";

static char *make_run(const char *name)
{
    struct tn_err err = TN_ERR_INIT;
    char *path = tn_fs_path("%s/%s", folder, name);

    CHECK_INT(tn_fs_make_dirs(path, 0700, &err), 0);
    return path;
}

/* Its tenond's lock, not held. */
static int open_lock(const char *name)
{
    auto_free char *run = make_run(name);
    auto_free char *path = tn_fs_path("%s/lock", run);

    return open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

static cJSON *ask(const char *request, struct tn_err *err)
{
    auto_free char *own = tn_fs_path("%s/own", folder);
    auto_json cJSON *json = cJSON_Parse(request);

    tn_err_clear(err);
    CHECK(json != NULL);
    return tn_host_answer(own, json, err);
}

static void expect(const char *request, const char *answer)
{
    struct tn_err err = TN_ERR_INIT;
    auto_json cJSON *json = ask(request, &err);
    auto_free char *text = json != NULL ? tn_json_print(json) : tn_fs_path("%s", err.text);

    CHECK_STR(text, answer);
}

static void test_runs(void)
{
    auto_fd int own = open_lock("own");
    auto_fd int lives = open_lock("lives");
    auto_fd int killed = open_lock("killed");
    auto_free char *young = make_run("young"); /* its lock comes in a moment */
    auto_free char *trap = make_run("trap");
    auto_free char *link = tn_fs_path("%s/lock", trap);
    char many[2000] = "{\"runs\":[\"a\"";

    CHECK_INT(flock(lives, LOCK_EX | LOCK_NB), 0);
    CHECK_INT(symlink("../killed/lock", link), 0);
    expect("{\"runs\":[\"lives\",\"killed\",\"young\",\"never\",\"own\",\"trap\"]}",
           "{\"gone\":[\"killed\",\"never\"]}");
    CHECK_INT(flock(killed, LOCK_EX | LOCK_NB), 0); /* looking held it for no longer */
    expect("{\"runs\":[\"killed\"]}", "{\"gone\":[]}");
    expect("{}", "{\"gone\":[]}");
    expect("{\"runs\":[\"../x\"]}", "\"runs\" has \"../x\", expected the name of a folder beside the run folder");
    expect("{\"runs\":[\"..\"]}", "\"runs\" has \"..\", expected the name of a folder beside the run folder");
    expect("{\"runs\":[\"\"]}", "\"runs\" has \"\", expected the name of a folder beside the run folder");
    expect("{\"runs\":[7]}", "\"runs\" has \"no text\", expected the name of a folder beside the run folder");
    for (int i = 0; i < TN_HOST_RUNS_MAX; i++)
        strncat(many, ",\"a\"", sizeof(many) - strlen(many) - 1);
    strncat(many, "]}", sizeof(many) - strlen(many) - 1);
    expect(many, "\"runs\" names 65 runs, at most 64 are looked at");
}

static void test_disks(void)
{
    struct tn_err err = TN_ERR_INIT;
    auto_free char *request = tn_fs_path("{\"disk\":\"%s/no/such/folder\"}", folder);
    auto_json cJSON *json = ask(request, &err);
    const cJSON *disk = tn_json_get(json, "disk");
    uint64_t size = tn_json_u64(disk, "size", 0);

    CHECK(size > 0);
    CHECK(tn_json_u64(disk, "free", size + 1) <= size);
    CHECK(tn_json_u64(disk, "available", size + 1) <= tn_json_u64(disk, "free", 0));
    expect("{\"disk\":\"/proc/1\"}", "{\"gone\":[]}"); /* no disk */
    expect("{\"disk\":\"relative\"}", "\"disk\" is \"relative\", expected an absolute path");
}

static void test_owner(void)
{
    auto_free char *own = tn_fs_path("%s/own", folder);
    auto_free char *text = tn_host_owner(own);
    auto_free char *blank = tn_fs_path("%s/two words", folder);
    auto_free char *expected = NULL;
    struct stat status;

    CHECK_INT(stat(folder, &status), 0);
    expected = tn_fs_path(" %llx:%llx %s", (unsigned long long)status.st_dev, (unsigned long long)status.st_ino, own);
    CHECK(text != NULL && strstr(text, expected) != NULL && atoi(text) == (int)geteuid());
    CHECK(tn_host_owner(blank) == NULL);
    CHECK(tn_host_owner("/no/such/folder") == NULL);
}

int main(void)
{
    struct tn_err err = TN_ERR_INIT;

    if (mkdtemp(folder) == NULL)
        return 1;
    test_runs();
    test_disks();
    test_owner();
    CHECK_INT(tn_fs_remove_tree(folder, &err), 0);
    return tn_check_result();
}
