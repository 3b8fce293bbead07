#!/usr/bin/env python3
# deadline: 60
"""PROGRAM_CLEAR of an executor that lies: what is not its own stays, whatever it names and swaps meanwhile; what is its
own goes, whoever owns it; tenond answers others meanwhile, and a new life of the executor asks again."""

import os
import shutil
import signal
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from kernel_test import KERNEL, Installation, procs  # noqa: E402

NOBODY = 65534


class Stage:
    """An installation with one executor, its folder of jobs, and a folder that is none of its own."""

    def __init__(self):
        self.tenon = Installation()
        self.executor = self.tenon.control("tenon-executor-machine")
        self.own = os.path.join(self.tenon.state, "machine")
        self.jobs = os.path.join(self.own, "jobs")
        self.outside = os.path.join(self.tenon.state, "scheduler")
        os.makedirs(self.jobs, exist_ok=True)
        self.kept = os.path.join(self.outside, "kept")
        os.makedirs(self.kept)

    def clear(self, folder):
        return self.executor.ask("PROGRAM_CLEAR", KERNEL, {"folder": folder}, 1, 1)

    def refused(self, folder, code, text):
        answer = self.clear(folder)
        assert answer["kind"] == "REFUSED", (folder, answer)
        assert answer["body"] == {"code": code, "text": text}, (folder, answer["body"])
        assert os.path.isdir(self.kept), folder

    def cleared(self, folder):
        answer = self.clear(folder)
        assert answer["kind"] == "PROGRAM_CLEARED" and answer["body"] == {}, (folder, answer)
        assert not os.path.lexists(folder), folder

    def many(self, name, files=10000):
        """A folder that takes a while to remove; of links, which are made faster than files."""
        folder = os.path.join(self.jobs, name)
        os.makedirs(folder)
        first = os.path.join(folder, "first")
        with open(first, "w", encoding="utf-8"):
            pass
        for number in range(files):
            os.link(first, os.path.join(folder, str(number)))
        return folder

    def end(self):
        self.executor.close()
        self.tenon.stop()


def test_what_is_not_its_own(stage):
    for folder in ("/etc", "/", "", "jobs", stage.outside, stage.kept, stage.own, stage.own + "/", stage.own + "/.",
                   stage.own + "/../scheduler/kept", stage.jobs + "/../../scheduler/kept", stage.own + "ry/x",
                   stage.jobs + "//x", stage.jobs + "/x/"):
        stage.refused(folder, "invalid", f"{folder[:200]} is not within the folders of executor machine: "
                                         f"expected a path below {stage.own}")
    long = stage.jobs + "/x" * 3000  # within, and nothing there; longer than a path may be
    answer = stage.clear(long)
    assert answer["body"] == {"code": "failed",
                              "text": f"cannot open what lies above {long[:300]}: File name too long"}, answer["body"]


def test_links(stage):
    link = os.path.join(stage.jobs, "link")
    os.symlink(stage.outside, link)
    stage.refused(link + "/kept", "invalid",
                  f"{link}/kept: expected nothing but folders on the way from {stage.own}: "
                  "Too many levels of symbolic links")
    with open(os.path.join(stage.jobs, "file"), "w", encoding="utf-8"):
        pass
    stage.refused(stage.jobs + "/file/x", "invalid",
                  f"{stage.jobs}/file/x: expected nothing but folders on the way from {stage.own}: Not a directory")
    stage.cleared(link)  # the link itself is its own
    stage.cleared(stage.jobs + "/file")
    assert os.path.isdir(stage.kept)


def test_swapped_meanwhile(stage):
    """The folder above becomes a link to somebody else's and back, all the time."""
    way, aside = (os.path.join(stage.jobs, name) for name in ("way", "aside"))
    os.makedirs(way)
    os.symlink(stage.outside, aside)
    done = threading.Event()

    def swap():
        spare = os.path.join(stage.jobs, "spare")
        while not done.is_set():
            os.rename(way, spare)
            os.rename(aside, way)
            os.rename(spare, aside)

    thread = threading.Thread(target=swap)
    thread.start()
    seen = set()
    try:
        for _ in range(60):
            seen.add(stage.clear(way + "/kept")["kind"])
            assert os.path.isdir(stage.kept)
    finally:
        done.set()
        thread.join()
    assert seen <= {"REFUSED", "PROGRAM_CLEARED"}, seen
    for path in (way, aside):
        stage.cleared(path)


def test_what_is_its_own(stage):
    """Of other users, read-only, marked; a mount in it is named and the rest goes."""
    root = os.geteuid() == 0
    job = os.path.join(stage.jobs, "1.1")
    theirs = os.path.join(job, "home/theirs")
    os.makedirs(theirs)
    os.symlink(stage.outside, os.path.join(theirs, "link"))
    with open(os.path.join(theirs, "file"), "w", encoding="utf-8"):
        pass
    point = os.path.join(job, "point")
    os.makedirs(point)
    if root:
        os.chown(os.path.join(theirs, "file"), NOBODY, NOBODY)
        os.chown(theirs, NOBODY, NOBODY)
        subprocess.run(["chattr", "+i", os.path.join(theirs, "file")], check=False, stderr=subprocess.DEVNULL)
    os.chmod(theirs, 0o500)
    if root and subprocess.run(["mount", "-t", "tmpfs", "none", point], check=False).returncode == 0:
        try:
            stage.refused(job, "failed",
                          f"cannot remove {point}: a file system is mounted there: unmount it (umount {point})")
            assert os.listdir(job) == ["point"], os.listdir(job)
        finally:
            subprocess.run(["umount", point], check=True)
    stage.cleared(job)
    stage.cleared(job)  # again
    stage.cleared(stage.jobs + "/a/b/c")  # nor was that ever there
    assert os.path.isdir(stage.kept)


def test_others_are_answered_meanwhile(stage):
    folders = [stage.many(f"{number}.1", 3000) for number in range(3)]
    for folder in folders * 2:
        stage.executor.send("PROGRAM_CLEAR", KERNEL, {"folder": folder}, 1, 1)
    first = stage.executor.ask("PROGRAM_LIST", KERNEL)
    assert first["kind"] == "PROGRAM_LISTED", first
    for _ in range(2 * len(folders)):
        stage.executor.wait(lambda line: line.get("kind") == "PROGRAM_CLEARED")
    assert not os.listdir(stage.jobs), os.listdir(stage.jobs)


def test_its_next_life_asks_again(stage):
    folder = stage.many("9.1")
    pid = stage.tenon.worker("tenon-executor-machine")
    stage.executor.send("PROGRAM_CLEAR", KERNEL, {"folder": folder}, 1, 1)
    assert stage.executor.ask("PROGRAM_LIST", KERNEL)["kind"] == "PROGRAM_LISTED"
    os.kill(pid, signal.SIGKILL)
    stage.executor.close()
    assert procs.wait_for(lambda: stage.tenon.worker("tenon-executor-machine") not in (None, pid), 10, 0.01)
    stage.executor = stage.tenon.control("tenon-executor-machine")
    stage.cleared(folder)


def test_ends_with_tenond(stage):
    folder = stage.many("10.1", 20000)
    stage.executor.send("PROGRAM_CLEAR", KERNEL, {"folder": folder}, 1, 1)
    assert stage.executor.ask("PROGRAM_LIST", KERNEL)["kind"] == "PROGRAM_LISTED"
    stage.tenon.process.kill()
    stage.tenon.process.wait()
    stage.executor.close()
    assert procs.wait_for(lambda: not procs.marked(stage.tenon.folder), 10, 0.01), \
        [procs.command(pid) for pid in procs.marked(stage.tenon.folder)]
    os.close(stage.tenon.life)
    shutil.rmtree(stage.tenon.folder)


def main():
    stage = Stage()
    for test in (test_what_is_not_its_own, test_links, test_swapped_meanwhile, test_what_is_its_own,
                 test_others_are_answered_meanwhile, test_its_next_life_asks_again):
        print(test.__name__, flush=True)
        test(stage)
    stage.end()
    print("test_ends_with_tenond", flush=True)
    test_ends_with_tenond(Stage())
    return 0


if __name__ == "__main__":
    sys.exit(main())
