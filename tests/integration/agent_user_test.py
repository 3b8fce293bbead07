#!/usr/bin/env python3
# deadline: 30
"""The agent that root starts for an executor of another user: what the executor names is touched as the executor's user,
however it is swapped, until the agent is the job's user; what the job writes in becomes that user's."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile

if os.getuid() != 0:
    print("needs root", file=sys.stderr)
    sys.exit(77)
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from agent_test import AGENT, RUN, Agent, wait_until  # noqa: E402

PEER, NOBODY = 64001, 65534


class Scene:
    """A folder of the executor's, with a job's in it, and one of root's that everybody may look at."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="tenon-user-")
        os.chmod(self.dir, 0o711)
        self.own, self.roots = self.dir + "/own", self.dir + "/root"
        self.job = self.own + "/job"
        self.path = self.own + "/s"
        for folder in (self.own, self.job, *(f"{self.job}/{name}" for name in ("home", "tmp", "scratch"))):
            os.mkdir(folder, 0o755)
            os.chown(folder, PEER, PEER)
        os.chmod(self.own, 0o700)
        os.chmod(self.job + "/tmp", 0o1777)
        os.makedirs(self.roots + "/closed/open")
        os.chmod(self.roots + "/closed", 0o700)
        self.kept = self.roots + "/kept"
        with open(self.kept, "w", encoding="utf-8") as file:
            file.write("kept")

    def words(self, **other):
        named = {"listen": self.path, "dir": self.job + "/scratch", "private-tmp": self.job + "/tmp", "keep": self.job,
                 "own": self.job + "/home", **other}
        return [word for name, value in named.items() for word in ("--" + name, value)]

    def refused(self, text, **other):
        """It ends before anything of root's has changed."""
        done = subprocess.run([AGENT, "serve", *self.words(**other), "--user", "nobody", "--peer", str(PEER)],
                              stderr=subprocess.PIPE, text=True, timeout=10, check=False)
        assert done.returncode == 3 and done.stderr.rstrip().endswith(text), (other, done)
        with open(self.kept, encoding="utf-8") as file:
            assert file.read() == "kept"
        assert os.stat(self.roots).st_uid == 0 and sorted(os.listdir(self.roots)) == ["closed", "kept"]

    def close(self):
        shutil.rmtree(self.dir)


def as_peer(agent):
    """A connection of the executor's."""
    wait_until(lambda: os.path.exists(agent.path), "the agent listens")
    os.seteuid(PEER)
    try:
        return agent.connect()
    finally:
        os.seteuid(0)


def test_gives_folders(scene):
    agent = Agent(*scene.words(), "--own", scene.job + "/scratch", "--user", "nobody", "--peer", str(PEER), listen=False)
    agent.path = scene.path
    try:
        link = as_peer(agent)
        done = link.run(1, f"id -u; cd {scene.job}/home && echo x > file && cat file; echo > /tmp/y; ls -a {scene.own}")
        assert done.out.decode().split() == [str(NOBODY), "x", ".", "..", "job"], done.out
        for path, user in (("home", NOBODY), ("home/file", NOBODY), ("scratch", NOBODY), ("tmp/y", NOBODY), (".", PEER),
                           ("../s", PEER)):
            assert os.lstat(f"{scene.job}/{path}").st_uid == user, path
        assert os.stat(scene.path).st_mode & 0o777 == 0o700
        status = open(f"/proc/{agent.process.pid}/status", encoding="utf-8").read()
        assert f"Uid:\t{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}\n" in status and "CapPrm:\t0000000000000000\n" in status
        agent.process.send_signal(signal.SIGTERM)
        assert agent.process.wait(10) == 143
    except BaseException:
        with open(agent.dir + "/log", encoding="utf-8") as log:
            sys.stderr.write(log.read())
        raise
    finally:
        agent.close()


def test_roots_groups_come_back(scene):
    """Without another user the job is root with all that root has."""
    agent = Agent(*scene.words(), "--peer", str(PEER), listen=False)
    agent.path = scene.path
    try:
        done = as_peer(agent).run(1, "grep -E '^(Uid|Gid|Groups|CapEff)' /proc/self/status")
        with open("/proc/self/status", encoding="utf-8") as file:
            ours = [line for line in file.read().splitlines() if line.split(":")[0] in ("Uid", "Gid", "Groups", "CapEff")]
        assert done.out.decode().splitlines() == ours, (done.out, ours)
        assert os.stat(scene.job + "/home").st_uid == 0
    finally:
        agent.close()


def test_refuses(scene):
    """Nothing of root's is removed, made, given away or shown, whatever the executor names."""
    scene.refused(f"cannot listen on {scene.kept}: Address in use", listen=scene.kept)
    scene.refused(f"cannot listen on {scene.roots}/s: Permission denied", listen=scene.roots + "/s")
    scene.refused(f"the folder {scene.roots} belongs to user 0, who is not the executor", own=scene.roots)
    scene.refused(f"cannot open the folder {scene.roots}/closed/open for user {NOBODY}: Permission denied",
                  own=scene.roots + "/closed/open")
    scene.refused(f"cannot open the folder {scene.kept} for user {NOBODY}: Not a directory", own=scene.kept)
    os.symlink(scene.roots, scene.job + "/link")
    scene.refused(f"cannot open the folder {scene.job}/link for user {NOBODY}: Not a directory",
                  own=scene.job + "/link")
    scene.refused(f"the agent's folder {scene.roots}/closed/open: Permission denied", dir=scene.roots + "/closed/open")
    # What fails first depends on where this test's own folder lies.
    scene.refused("Permission denied", **{"private-tmp": scene.roots + "/closed/open"})
    scene.refused("Permission denied", keep=scene.roots + "/closed/open")


def main():
    if RUN:
        print("left out under an emulator", file=sys.stderr)
        return 77
    for test in (test_refuses, test_gives_folders, test_roots_groups_come_back):
        print(test.__name__, flush=True)
        scene = Scene()
        try:
            test(scene)
        finally:
            scene.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
