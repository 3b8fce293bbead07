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
        self.dir = tempfile.mkdtemp(prefix="tenon-user-")  # closed: the executor sees its own folder in another root
        self.own, self.roots = self.dir + "/own", self.dir + "/root"
        self.job = self.own + "/job"
        self.closed = self.roots + "/closed/open"
        self.path = self.own + "/s"
        for folder in (self.own, self.job, *(f"{self.job}/{name}" for name in ("home", "tmp", "scratch"))):
            os.mkdir(folder, 0o755)
            os.chown(folder, PEER, PEER)
        os.chmod(self.own, 0o700)
        os.chmod(self.job + "/tmp", 0o1777)
        os.makedirs(self.closed)
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


def as_peer(scene, agent):
    """A connection of the executor's, from within its own folder."""
    wait_until(lambda: os.path.exists(scene.path), "the agent listens")
    os.chdir(scene.own)
    agent.path = "s"
    os.seteuid(PEER)
    try:
        return agent.connect()
    except AssertionError:
        os.seteuid(0)
        with open(agent.dir + "/log", encoding="utf-8") as log:
            sys.stderr.write(log.read())
        raise
    finally:
        os.seteuid(0)
        os.chdir("/")


def test_gives_folders(scene):
    agent = Agent(*scene.words(), "--own", scene.job + "/scratch", "--user", "nobody", "--peer", str(PEER), listen=False)
    try:
        link = as_peer(scene, agent)
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
    try:
        done = as_peer(scene, agent).run(1, "grep -E '^(Uid|Gid|Groups|CapEff)' /proc/self/status")
        with open("/proc/self/status", encoding="utf-8") as file:
            ours = [line for line in file.read().splitlines() if line.split(":")[0] in ("Uid", "Gid", "Groups", "CapEff")]
        assert done.out.decode().splitlines() == ours, (done.out, ours)
        assert os.stat(scene.job + "/home").st_uid == 0
    finally:
        agent.close()


def test_refuses(scene):
    """Nothing of root's is removed, given away or shown, whatever the executor names."""
    foreign = f"belongs to user 0: expected the executor's, {PEER}, or the job's, {NOBODY}"
    scene.refused(f"cannot listen on {scene.kept}: Address in use", listen=scene.kept)
    scene.refused(f"cannot listen on {scene.roots}/s: Permission denied", listen=scene.roots + "/s")
    scene.refused(f"the folder {scene.roots} {foreign}", own=scene.roots)
    scene.refused(f"the folder {scene.kept}: Not a directory", own=scene.kept)
    os.symlink(scene.roots, scene.job + "/link")
    scene.refused(f"the folder {scene.job}/link: Not a directory", own=scene.job + "/link")
    scene.refused(f"the folder {scene.closed} {foreign}", **{"private-tmp": scene.closed})
    scene.refused(f"the folder {scene.closed} {foreign}", keep=scene.closed)


def test_makes_nothing(scene):
    """A folder for its names that is none of its own stays as it is."""
    agent = Agent(*scene.words(dir=scene.closed), "--user", "nobody", "--peer", str(PEER), listen=False)
    try:
        assert as_peer(scene, agent).run(1, "id -u").out == f"{NOBODY}\n".encode()
        assert not os.listdir(scene.closed)
    finally:
        agent.close()


def main():
    os.chdir("/")  # the tests may lie below /tmp, which the agent covers
    if RUN:
        print("left out under an emulator", file=sys.stderr)
        return 77
    for test in (test_refuses, test_makes_nothing, test_gives_folders, test_roots_groups_come_back):
        print(test.__name__, flush=True)
        scene = Scene()
        try:
            test(scene)
        finally:
            scene.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
