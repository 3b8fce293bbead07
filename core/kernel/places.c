#include "core/kernel/places.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *tn_places_name(const struct tn_worker *worker)
{
    return worker->manifest != NULL ? worker->manifest->name : worker->row->folder;
}

void tn_places_of(const struct tn_worker *worker, const struct tn_kernel_config *config, struct tn_places *out)
{
    const char *name = tn_places_name(worker);
    bool lasts = name != NULL && worker->row->role != TN_ROLE_BUS;

    out->run = name != NULL ? tn_fs_path("%s/%s", config->run_dir, name) : tn_fs_path("%s", "");
    out->state = lasts ? tn_fs_path("%s/%s", config->state_dir, name) : tn_fs_path("%s", "");
    out->store = lasts ? tn_fs_path("%s/%s", config->store_dir, name) : tn_fs_path("%s", "");
}

void tn_places_free(struct tn_places *places)
{
    free(places->run);
    free(places->state);
    free(places->store);
}

int tn_places_make(const struct tn_places *places, struct tn_err *err)
{
    const char *const paths[] = {places->run, places->state, places->store};

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        if (paths[i][0] != '\0' && tn_fs_make_dirs(paths[i], 0700, err) != 0)
            return -1;
    return 0;
}

/* ---- sockets ---- */

static char *life_folder(const char *run_dir, const char *kind, uint16_t address, uint32_t life)
{
    return tn_fs_path("%s/%s/%04x.%08x", run_dir, kind, (unsigned)address, (unsigned)life);
}

static bool has_data(uint16_t address)
{
    return TN_ADDRESS_ROLE(address) == TN_ROLE_EXECUTOR || TN_ADDRESS_ROLE(address) == TN_ROLE_CLIENT;
}

int tn_places_add_life(const char *run_dir, uint16_t address, uint32_t life, struct tn_err *err)
{
    auto_free char *bus = life_folder(run_dir, "bus", address, life);
    auto_free char *data = life_folder(run_dir, "data", address, life);

    if (mkdir(bus, 0700) != 0 && errno != EEXIST)
        return tn_err_sys(err, errno, "cannot make the folder %s", bus);
    if (has_data(address) && mkdir(data, 0700) != 0 && errno != EEXIST)
        return tn_err_sys(err, errno, "cannot make the folder %s", data);
    return 0;
}

static void remove_socket(const char *run_dir, const char *kind, uint16_t address, uint32_t life)
{
    auto_free char *folder = life_folder(run_dir, kind, address, life);
    auto_free char *path = tn_fs_path("%s/s", folder);

    if ((unlink(path) != 0 && errno != ENOENT) || (rmdir(folder) != 0 && errno != ENOENT))
        tn_warn("cannot remove %s: %s", folder, strerror(errno));
}

void tn_places_remove_life(const char *run_dir, uint16_t address, uint32_t life)
{
    remove_socket(run_dir, "bus", address, life);
    if (has_data(address))
        remove_socket(run_dir, "data", address, life);
}
