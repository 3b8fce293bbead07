"""Checks of promises about secrets: none in the arguments, environment or files of our processes, no memory of theirs on a
disk or in another process's hands, nothing that others may read."""

import os
import stat

import procs
from tenon import check, check_equal

GUARDED = ("tenon", "tenon-bus", "tenon-scheduler", "tenon-output", "tenon-executor-docker", "tenon-executor-machine")


def check_processes(pids, secret):
    """No process of ours has the secret where others may see it, and those that hold it in memory are closed."""
    seen = set()
    for pid in pids:
        name = procs.program(pid)
        if name not in GUARDED and name not in ("tenond", "tenon-compiler", "tenon-agent"):
            continue
        shown = procs.read(pid, "cmdline") + procs.read(pid, "environ")
        check(secret not in shown, f"{name} has the secret in its arguments or environment")
        if name not in GUARDED:
            continue
        seen.add(name)
        core = [line.split()[4:6] for line in procs.read(pid, "limits").splitlines() if line.startswith("Max core")]
        check_equal(core, [["0", "0"]], f"{name}: limit of core dumps")
        # What is not dumpable belongs to root in /proc, whoever it runs as: no dump, no trace, no memory.
        check_equal(os.stat(f"/proc/{pid}/mem").st_uid, 0, f"{name}: owner of its memory")
    check_equal(set(GUARDED[:4]) - seen, set(), "processes that were not looked at")


def check_files(folder, secret):
    """The secret lies in no file below the folder, and others reach none of them."""
    holding, open_to_all, reached = [], [], {folder}
    for base, folders, names in os.walk(folder):
        for name in folders + names:
            path = os.path.join(base, name)
            mode = os.lstat(path).st_mode
            if base in reached and stat.S_ISDIR(mode) and mode & 0o001:
                reached.add(path)
            if not stat.S_ISREG(mode):
                continue
            if base in reached and mode & 0o006:
                open_to_all.append(path)
            with open(path, "rb") as file:
                if secret.encode() in file.read():
                    holding.append(path)
    check_equal(holding, [], "files that hold the secret")
    check_equal(open_to_all, [], "files that others may read or write")
