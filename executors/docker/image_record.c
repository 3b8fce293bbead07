#include "executors/docker/image_record.h"

#include "core/lib/buf.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FILE_BYTES = 4096, NAME_BYTES = 64 };

static char *path_of(const char *folder, const char *name, const char *id)
{
    auto_buf struct tn_buf both = TN_BUF_INIT;
    unsigned char hash[EVP_MAX_MD_SIZE];
    char text[NAME_BYTES + 1];
    unsigned len = 0;

    tn_buf_addf(&both, "%s\n%s", name, id);
    if (EVP_Digest(both.data, both.len, hash, &len, EVP_sha256(), NULL) != 1)
        tn_fatal(3, "libcrypto has no SHA-256");
    for (unsigned i = 0; i < NAME_BYTES / 2; i++)
        snprintf(text + 2 * i, 3, "%02x", hash[i]);
    return tn_fs_path("%s/%s", folder, text);
}

int tn_image_record_put(const char *folder, const struct tn_image_record *record, struct tn_err *err)
{
    auto_free char *path = path_of(folder, record->name, record->id);
    auto_json cJSON *json = cJSON_CreateObject();
    auto_free char *text = NULL;

    cJSON_AddStringToObject(json, "name", record->name);
    cJSON_AddStringToObject(json, "id", record->id);
    tn_json_add_u64(json, "pulled", (uint64_t)record->pulled);
    tn_json_add_u64(json, "checked", (uint64_t)record->checked);
    tn_json_add_u64(json, "used", (uint64_t)record->used);
    text = tn_json_print(json);
    if (tn_fs_make_dirs(folder, 0700, err) != 0)
        return -1;
    return tn_fs_write_atomic(path, text, strlen(text), 0600, err);
}

bool tn_image_record_parse(const char *text, size_t len, struct tn_image_record *record)
{
    auto_json cJSON *json = len <= FILE_BYTES ? cJSON_ParseWithLength(text, len) : NULL;
    const char *name = tn_json_string(json, "name", "");
    const char *id = tn_json_string(json, "id", "");
    uint64_t pulled = tn_json_u64(json, "pulled", 0);
    uint64_t checked = tn_json_u64(json, "checked", 0);
    uint64_t used = tn_json_u64(json, "used", 0);

    memset(record, 0, sizeof(*record));
    if (name[0] == '\0' || strlen(name) >= sizeof(record->name) || id[0] == '\0' || strlen(id) >= sizeof(record->id) ||
        pulled == 0 || pulled > INT64_MAX || checked > INT64_MAX || used > INT64_MAX)
        return false;
    snprintf(record->name, sizeof(record->name), "%s", name);
    snprintf(record->id, sizeof(record->id), "%s", id);
    record->pulled = (int64_t)pulled;
    record->checked = (int64_t)checked;
    record->used = (int64_t)used;
    return true;
}

/* A damaged record is of no use: without it the image merely stays. */
static bool read_record(const char *path, struct tn_image_record *record)
{
    auto_buf struct tn_buf text = TN_BUF_INIT;
    struct tn_err err = TN_ERR_INIT;

    if (tn_fs_read(path, FILE_BYTES, &text, &err) != 0)
        return false;
    if (tn_image_record_parse(text.data != NULL ? text.data : "", text.len, record))
        return true;
    tn_warn("%s is no record of an image: removed", path);
    unlink(path);
    return false;
}

bool tn_image_record_get(const char *folder, const char *name, const char *id, struct tn_image_record *record)
{
    auto_free char *path = path_of(folder, name, id);

    return access(path, F_OK) == 0 && read_record(path, record) && strcmp(record->name, name) == 0 &&
           strcmp(record->id, id) == 0;
}

void tn_image_record_remove(const char *folder, const char *name, const char *id)
{
    auto_free char *path = path_of(folder, name, id);

    unlink(path);
}

void tn_image_record_each(const char *folder, void (*on_record)(const struct tn_image_record *record, void *arg),
                          void *arg)
{
    auto_dir DIR *dir = opendir(folder);
    struct tn_image_record record;
    const struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        auto_free char *path = tn_fs_path("%s/%s", folder, entry->d_name);

        if (strlen(entry->d_name) == NAME_BYTES && read_record(path, &record))
            on_record(&record, arg);
    }
}
