"""Looking at processes and mounts through /proc: who runs, who descends from whom, and waiting for their end."""

import os
import select
import signal
import time


def alive(pid):
    """True while the process exists and is no zombie."""
    return state(pid) not in (None, "Z", "X")


def state(pid):
    """The letter of the process's state, or None when it is gone."""
    fields = _stat(pid)
    return fields[0] if fields else None


def parent(pid):
    """The parent's id, or None when the process is gone."""
    fields = _stat(pid)
    return int(fields[1]) if fields else None


def _stat(pid):
    text = read(pid, "stat")
    return text.rpartition(") ")[2].split() if text else None


def read(pid, name):
    """Contents of /proc/PID/NAME as text, empty when it cannot be read."""
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def command(pid):
    """The command line with spaces, or the name in brackets for a process without one."""
    text = read(pid, "cmdline").replace("\0", " ").strip()
    return text or f"[{read(pid, 'comm').strip()}]"


def program(pid):
    """Name of the program, from its command line (the kernel's own short name has 15 characters only)."""
    return os.path.basename(read(pid, "cmdline").split("\0")[0]) or read(pid, "comm").strip()


def all_pids():
    """Ids of all processes."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def descendants(root):
    """Ids of all living descendants of a process."""
    children = {}
    for pid in all_pids():
        children.setdefault(parent(pid), []).append(pid)
    found, todo = [], [root]
    while todo:
        for child in children.get(todo.pop(), []):
            found.append(child)
            todo.append(child)
    return [pid for pid in found if alive(pid)]


def marked(mark):
    """Ids of living processes whose environment, command line or current folder holds the text `mark`, we excepted."""
    found = []
    for pid in all_pids():
        if pid == os.getpid() or not alive(pid):
            continue
        try:
            folder = os.readlink(f"/proc/{pid}/cwd")
        except OSError:
            folder = ""
        if mark in folder or mark in read(pid, "cmdline") or mark in read(pid, "environ"):
            found.append(pid)
    return found


def wait_gone(pid, seconds):
    """Waits until /proc/PID vanishes (or only a zombie of somebody else is left). False when the time is over."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        poller.poll(seconds * 1000)
    finally:
        os.close(handle)
    return wait_for(lambda: not alive(pid), 1, 0.005)


def wait_for(condition, seconds, pause=0.05):
    """Asks `condition` until it is true; its last value. For what has no event to wait on."""
    end = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(pause)
    return value


def kill(pid, number=signal.SIGKILL):
    """Sends a signal; a process that is gone is fine."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def mounts_under(folder):
    """Mount points at or below a folder, deepest first."""
    folder = os.path.realpath(folder)
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        for line in file:
            point = line.split(" ")[4].encode().decode("unicode_escape")
            if point == folder or point.startswith(folder + "/"):
                found.append(point)
    return sorted(found, key=len, reverse=True)
