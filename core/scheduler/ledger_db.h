/* What ledger.c and ledger_load.c share. Not for others. */
#ifndef TN_SCHEDULER_LEDGER_DB_H
#define TN_SCHEDULER_LEDGER_DB_H

#include "core/scheduler/ledger.h"

#include <sqlite3.h>

struct ledger_queued; /* one queued write */

struct tn_ledger {
    sqlite3 *db;                                 /* owned */
    sqlite3 *numbers;                            /* owned */
    sqlite3_stmt *writes[TN_LEDGER_WRITE_COUNT]; /* owned */
    STAILQ_HEAD(, ledger_queued) queue;
    size_t queued;
};

/* Prepares a statement; NULL and why. The caller finalizes it. */
sqlite3_stmt *ledger__prepare(sqlite3 *db, const char *sql, struct tn_err *err) TN_MUST_CHECK;
/* Sets `err` from the database's last fault: TN_ERR_CONFLICT for constraints, else TN_ERR_SYSTEM. Returns -1. */
int ledger__fail(sqlite3 *db, struct tn_err *err, const char *doing);

#endif
