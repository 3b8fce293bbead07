#include "core/scheduler/ledger.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"
#include "core/scheduler/ledger_db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION = 1, BUSY_MS = 5000, PARAMETERS_MAX = 16 };

static const char schema[] =
    "CREATE TABLE pipeline(number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, state TEXT NOT NULL,"
    " created INTEGER NOT NULL, ended INTEGER NOT NULL DEFAULT 0, cancel INTEGER NOT NULL DEFAULT 0,"
    " request TEXT NOT NULL, diagnostics TEXT);"
    "CREATE INDEX pipeline_open ON pipeline(number) WHERE ended=0;"
    "CREATE TABLE secret(pipeline INTEGER PRIMARY KEY, body TEXT NOT NULL);"
    "CREATE TABLE workflow(pipeline INTEGER NOT NULL, position INTEGER NOT NULL, id TEXT NOT NULL UNIQUE,"
    " name TEXT NOT NULL, state TEXT NOT NULL, created INTEGER NOT NULL, ended INTEGER NOT NULL DEFAULT 0,"
    " PRIMARY KEY(pipeline,position)) WITHOUT ROWID;"
    "CREATE TABLE job(number INTEGER PRIMARY KEY, pipeline INTEGER NOT NULL, workflow INTEGER NOT NULL,"
    " position INTEGER NOT NULL, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, type TEXT NOT NULL, kind TEXT NOT NULL,"
    " cpu_milli INTEGER NOT NULL, memory_mb INTEGER NOT NULL, parallelism INTEGER NOT NULL, requires TEXT NOT NULL,"
    " definition TEXT NOT NULL, state TEXT NOT NULL, outcome TEXT NOT NULL DEFAULT '', reason TEXT,"
    " started INTEGER NOT NULL DEFAULT 0, ended INTEGER NOT NULL DEFAULT 0, UNIQUE(pipeline,workflow,position));"
    "CREATE TABLE task(id INTEGER PRIMARY KEY, job INTEGER NOT NULL, position INTEGER NOT NULL, state TEXT NOT NULL,"
    " reason TEXT, attempt INTEGER NOT NULL, executor INTEGER NOT NULL DEFAULT 0, steps_begun INTEGER NOT NULL DEFAULT "
    "0,"
    " not_before INTEGER NOT NULL DEFAULT 0, started INTEGER NOT NULL DEFAULT 0, ended INTEGER NOT NULL DEFAULT 0,"
    " folder TEXT, artifacts TEXT, tests TEXT, UNIQUE(job,position));"
    "CREATE TABLE transition(id INTEGER PRIMARY KEY AUTOINCREMENT, task INTEGER NOT NULL, attempt INTEGER NOT NULL,"
    " from_state TEXT NOT NULL, to_state TEXT NOT NULL, reason TEXT, time INTEGER NOT NULL, terminal INTEGER NOT NULL);"
    "CREATE INDEX transition_task ON transition(task);"
    "CREATE UNIQUE INDEX transition_end ON transition(task) WHERE terminal=1;"
    "CREATE TABLE step(task INTEGER NOT NULL, attempt INTEGER NOT NULL, number INTEGER NOT NULL, body TEXT NOT NULL,"
    " PRIMARY KEY(task,attempt,number)) WITHOUT ROWID;"
    "PRAGMA user_version=1;";

static const char *const write_sql[] = {
#define ROW(name, sql) [TN_LEDGER_##name] = sql,
    TN_LEDGER_WRITES(ROW)
#undef ROW
};

struct parameter {
    char type; /* i or s */
    int64_t number;
    char *text; /* owned; NULL: null */
};

struct ledger_queued {
    STAILQ_ENTRY(ledger_queued) next;
    enum tn_ledger_write write;
    unsigned count;
    struct parameter parameters[];
};

int ledger__fail(sqlite3 *db, struct tn_err *err, const char *doing)
{
    int code = sqlite3_errcode(db);
    const char *what = (code & 0xff) == SQLITE_FULL || (code & 0xff) == SQLITE_IOERR
                           ? ": free space on its disk; nothing is lost, it is tried again"
                           : "";

    return tn_err_set(err, (code & 0xff) == SQLITE_CONSTRAINT ? TN_ERR_CONFLICT : TN_ERR_SYSTEM,
                      "the ledger cannot %s: %s%s", doing, sqlite3_errmsg(db), what);
}

sqlite3_stmt *ledger__prepare(sqlite3 *db, const char *sql, struct tn_err *err)
{
    sqlite3_stmt *statement = NULL;

    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
        ledger__fail(db, err, "prepare a statement");
    return statement;
}

/* ---- opening ---- */

static int run(sqlite3 *db, const char *sql, const char *doing, struct tn_err *err)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : ledger__fail(db, err, doing);
}

/* SQLite gives the -wal and -shm files the mode of the database, which therefore exists before SQLite opens it. */
static int open_file(const char *path, sqlite3 **db, struct tn_err *err)
{
    auto_fd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0)
        return tn_err_sys(err, errno, "cannot open the database %s", path);
    if (sqlite3_open_v2(path, db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK ||
        sqlite3_busy_timeout(*db, BUSY_MS) != SQLITE_OK)
        return ledger__fail(*db, err, "be opened");
    return 0;
}

static int version_of(sqlite3 *db, struct tn_err *err)
{
    sqlite3_stmt *statement = ledger__prepare(db, "PRAGMA user_version", err);
    int version = -1;

    if (statement != NULL && sqlite3_step(statement) == SQLITE_ROW)
        version = sqlite3_column_int(statement, 0);
    else if (statement != NULL)
        ledger__fail(db, err, "say its version");
    sqlite3_finalize(statement);
    return version;
}

static int prepare_schema(sqlite3 *db, const char *path, struct tn_err *err)
{
    int version;

    if (run(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA secure_delete=ON; PRAGMA cache_size=-8192",
            "be set up", err) != 0 ||
        (version = version_of(db, err)) < 0)
        return -1;
    if (version > VERSION)
        return tn_err_set(err, TN_ERR_CONFLICT,
                          "the ledger %s has version %d, this program knows up to %d: use the newer tenon", path,
                          version, VERSION);
    if (version == VERSION)
        return 0;
    if (run(db, "BEGIN IMMEDIATE", "make its tables", err) != 0)
        return -1;
    if (run(db, schema, "make its tables", err) != 0) {
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
        return -1;
    }
    return run(db, "COMMIT", "make its tables", err);
}

static int open_all(struct tn_ledger *ledger, const char *state_dir, const char *store_dir, struct tn_err *err)
{
    auto_free char *path = tn_fs_path("%s/ledger.db", state_dir);
    auto_free char *numbers = tn_fs_path("%s/numbers.db", store_dir);

    if (tn_fs_make_dirs(state_dir, 0700, err) != 0 || tn_fs_make_dirs(store_dir, 0700, err) != 0 ||
        open_file(path, &ledger->db, err) != 0 || open_file(numbers, &ledger->numbers, err) != 0 ||
        prepare_schema(ledger->db, path, err) != 0 ||
        run(ledger->numbers,
            "PRAGMA synchronous=FULL; CREATE TABLE IF NOT EXISTS counter(name TEXT PRIMARY KEY, value INTEGER NOT "
            "NULL)",
            "set up the numbers", err) != 0)
        return -1;
    for (int i = 0; i < TN_LEDGER_WRITE_COUNT; i++)
        if ((ledger->writes[i] = ledger__prepare(ledger->db, write_sql[i], err)) == NULL)
            return -1;
    return 0;
}

struct tn_ledger *tn_ledger_open(const char *state_dir, const char *store_dir, struct tn_err *err)
{
    struct tn_ledger *ledger = tn_model_alloc(1, sizeof(*ledger));

    STAILQ_INIT(&ledger->queue);
    if (open_all(ledger, state_dir, store_dir, err) != 0) {
        tn_ledger_close(ledger);
        return NULL;
    }
    return ledger;
}

static void free_queued(struct ledger_queued *queued)
{
    for (unsigned i = 0; i < queued->count; i++)
        free(queued->parameters[i].text);
    free(queued);
}

static void drop_queue(struct tn_ledger *ledger)
{
    struct ledger_queued *queued;

    while ((queued = STAILQ_FIRST(&ledger->queue)) != NULL) {
        STAILQ_REMOVE_HEAD(&ledger->queue, next);
        free_queued(queued);
    }
    ledger->queued = 0;
}

void tn_ledger_close(struct tn_ledger *ledger)
{
    if (ledger == NULL)
        return;
    drop_queue(ledger);
    for (int i = 0; i < TN_LEDGER_WRITE_COUNT; i++)
        sqlite3_finalize(ledger->writes[i]);
    if (ledger->db != NULL)
        tn_ledger_checkpoint(ledger);
    sqlite3_close(ledger->db);
    sqlite3_close(ledger->numbers);
    free(ledger);
}

/* ---- writing ---- */

void tn_ledger_put(struct tn_ledger *ledger, enum tn_ledger_write write, const char *format, ...)
{
    size_t count = strlen(format);
    struct ledger_queued *queued;
    va_list ap;

    if (count > PARAMETERS_MAX || (int)count != sqlite3_bind_parameter_count(ledger->writes[write]))
        tn_fatal(3, "the ledger's write %d got %zu parameters", (int)write, count);
    queued = tn_model_alloc(1, sizeof(*queued) + count * sizeof(queued->parameters[0]));
    queued->write = write;
    queued->count = (unsigned)count;
    va_start(ap, format);
    for (size_t i = 0; i < count; i++) {
        queued->parameters[i].type = format[i];
        if (format[i] == 'i')
            queued->parameters[i].number = va_arg(ap, int64_t);
        else
            tn_text_set(&queued->parameters[i].text, va_arg(ap, const char *));
    }
    va_end(ap);
    STAILQ_INSERT_TAIL(&ledger->queue, queued, next);
    ledger->queued++;
}

size_t tn_ledger_queued(const struct tn_ledger *ledger)
{
    return ledger->queued;
}

static int apply(struct tn_ledger *ledger, const struct ledger_queued *queued, struct tn_err *err)
{
    sqlite3_stmt *statement = ledger->writes[queued->write];
    int done = SQLITE_OK;

    for (unsigned i = 0; i < queued->count && done == SQLITE_OK; i++) {
        const struct parameter *parameter = &queued->parameters[i];

        if (parameter->type == 'i')
            done = sqlite3_bind_int64(statement, (int)i + 1, parameter->number);
        else
            done = sqlite3_bind_text(statement, (int)i + 1, parameter->text, -1, SQLITE_STATIC);
    }
    if (done == SQLITE_OK)
        done = sqlite3_step(statement);
    if (done != SQLITE_DONE)
        ledger__fail(ledger->db, err, "write a row");
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return done == SQLITE_DONE ? 0 : -1;
}

int tn_ledger_commit(struct tn_ledger *ledger, struct tn_err *err)
{
    struct ledger_queued *queued;
    int result;

    if (ledger->queued == 0)
        return 0;
    result = run(ledger->db, "BEGIN IMMEDIATE", "begin", err);
    STAILQ_FOREACH (queued, &ledger->queue, next) {
        if (result != 0)
            break;
        result = apply(ledger, queued, err);
    }
    if (result == 0)
        result = run(ledger->db, "COMMIT", "commit", err);
    if (result != 0) {
        /* SQLite may have rolled back by itself: then this fails, harmlessly. */
        if (sqlite3_get_autocommit(ledger->db) == 0)
            sqlite3_exec(ledger->db, "ROLLBACK", NULL, NULL, NULL);
        return -1;
    }
    drop_queue(ledger);
    return 0;
}

void tn_ledger_checkpoint(struct tn_ledger *ledger)
{
    if (sqlite3_wal_checkpoint_v2(ledger->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL) != SQLITE_OK)
        tn_warn("the ledger's write-ahead log stays for now: %s", sqlite3_errmsg(ledger->db));
}

/* ---- numbers ---- */

/* The ledger's own largest number, so that a lost numbers.db does not give a number twice within one ledger. */
static uint64_t largest(struct tn_ledger *ledger, const char *counter)
{
    const char *sql = strcmp(counter, "pipeline") == 0 ? "SELECT max(number) FROM pipeline"
                      : strcmp(counter, "job") == 0    ? "SELECT max(number) FROM job"
                                                       : "SELECT max(id) FROM task";
    sqlite3_stmt *statement = ledger__prepare(ledger->db, sql, NULL);
    uint64_t value = 0;

    if (statement != NULL && sqlite3_step(statement) == SQLITE_ROW)
        value = (uint64_t)sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return value;
}

int tn_ledger_take_numbers(struct tn_ledger *ledger, const char *counter, uint64_t count, uint64_t *first,
                           struct tn_err *err)
{
    sqlite3_stmt *statement = ledger__prepare(ledger->numbers,
                                              "INSERT INTO counter(name,value) VALUES(?1,?2+?3)"
                                              " ON CONFLICT(name) DO UPDATE SET value=max(value,?2)+?3 RETURNING value",
                                              err);
    int result = -1;

    if (statement == NULL)
        return -1;
    sqlite3_bind_text(statement, 1, counter, -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 2, (int64_t)largest(ledger, counter));
    sqlite3_bind_int64(statement, 3, (int64_t)count);
    if (sqlite3_step(statement) == SQLITE_ROW) {
        *first = (uint64_t)sqlite3_column_int64(statement, 0) - count + 1;
        /* The change is committed by the step that ends the statement. */
        result = sqlite3_step(statement) == SQLITE_DONE ? 0 : -1;
    }
    if (result != 0)
        ledger__fail(ledger->numbers, err, "take numbers");
    sqlite3_finalize(statement);
    return result;
}
