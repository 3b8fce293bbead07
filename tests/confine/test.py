#!/usr/bin/env python3
# deadline: 60
"""An intruder in the place of each of our processes (README.md): what it tries, and what stops it.

Without arguments: in every way that tenond can be started here (as root with users of its own and without, unprivileged).
Writes BUILD/tests/confine/table.tsv and table.txt. --mode MODE FILE is one of these, --build DIR another build folder."""

import argparse
import json
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "lib")]
import expected  # noqa: E402
import scenes  # noqa: E402

MODES = {"users": "root, own users", "root": "root, no users", "user": "unprivileged"}
NOBODY = 65534
FIRST_UID = 64800
# What is probed together, with which executors.
SCENES = ((("bus",), ()), (("scheduler", "compiler", "output"), ()), (("docker", "machine"), ("docker", "machine")))
PHASES = (("all", ()), ("landlock", ("seccomp",)), ("bare", ("seccomp", "landlock")))
FIELDS = ("started as", "role", "attempt", "outcome", "refused by", "without seccomp", "refused by",
          "without seccomp and Landlock", "refused by", "verdict")


# ---- one way of starting ----

def use_accounts(folder, with_users):
    """In a mount namespace of our own: /etc/passwd and /etc/group with our users, or without."""
    for path, line in (("/etc/passwd", "{0}:x:{1}:{1}::/nonexistent:/usr/sbin/nologin"), ("/etc/group", "{0}:x:{1}:")):
        with open(path, encoding="utf-8") as file:
            lines = [text for text in file.read().splitlines() if not text.startswith("tenon-")]
        if with_users:
            lines += [line.format("tenon-" + role, FIRST_UID + i) for i, role in enumerate(expected.ALL)]
        copy = os.path.join(folder, os.path.basename(path))
        with open(copy, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        os.chmod(copy, 0o644)
        subprocess.run(["mount", "--bind", copy, path], check=True)


def facts(pid):
    """Which mechanisms of tenond's hold for a process, by what the kernel says of it."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)

    def own(space):
        return os.readlink(f"/proc/{pid}/ns/{space}") != os.readlink(f"/proc/self/ns/{space}")

    held = {"limits", "kernel"}
    held |= {"user"} if int(status["Uid"].split()[0]) != os.geteuid() else set()
    powerless = all(int(status[name], 16) == 0 for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"))
    held |= {"capabilities"} if os.geteuid() == 0 and powerless else set()
    held |= {"no_new_privs"} if status["NoNewPrivs"] == "1" else set()
    held |= {name for name, space in (("mounts", "mnt"), ("network", "net"), ("ipc", "ipc"), ("userns", "user"))
             if own(space)}
    return held


def probe(build, folder):
    """Everything that the probers noted: [(role, held, {attempt: {phase: ending}}, {forgery: dropped})]."""
    running = [scenes.Scene(build, probed, executors, folder) for probed, executors in SCENES]
    found = {}
    try:
        for scene in running:
            scene.wait_probed()
        task = running[-1].submit()
        if task["state"] != "succeeded":
            raise AssertionError(f"another executor changed how the task ended: {task}")
        for scene in running:
            for role in scene.probed:
                found[role] = take(scene, role)
    finally:
        for scene in running:
            scene.stop()
    return found


def check_claims(scene, role, held):
    """tenond says of a process what the kernel says."""
    name = ("executor-" if role in ("docker", "machine") else "") + role
    claims = scene.status(name)
    for row in claims:
        mechanism = row["mechanism"]
        if mechanism in ("limits", "capabilities") and os.geteuid() != 0:
            continue
        if row["applied"] != (mechanism in held):
            raise AssertionError(f"{role}: tenond says {row}, the kernel {sorted(held)}")


def take(scene, role):
    """One role's part of a scene."""
    text = scene.text()
    said = dict(line.split("\t")[3:5] for line in text.splitlines() if line.startswith(f"probe\t{role}\tfacts\t"))
    held = facts(said["pid"])
    held |= {name for name, word in (("landlock", "Landlock"), ("seccomp", "seccomp"))
             if word in said["confinement"].replace("no " + word, "")}
    if role != "bus":  # whose prober never is ready
        check_claims(scene, role, held)
    noted = {attempt: phases for (who, attempt), phases in scenes.endings(text).items() if who == role}
    drops = {}
    if role in expected.ON_BUS:
        name = expected.ON_BUS[role]
        source = name + (".1" if role == "machine" else ".0" if role == "docker" else "")
        scene.wait(lambda log: f"dropped a message of {source} " in log, f"a word of the router on {source}")
        scene.wait(lambda log: any(source + " " in line and "4000 bytes" in line for line in log.splitlines()),
                   f"the router's last word on {source}")
        mine = [line for line in scene.text().splitlines() if f"dropped a message of {source} " in line]
        drops = {forgery: any(want.format(name=name) in line for line in mine)
                 for forgery, want in expected.DROPPED.items() if (forgery, role) not in expected.MAY}
    return {"held": sorted(held), "noted": noted, "drops": drops}


# ---- what should have been ----

def judge(layers, held, noted):
    """For each phase (ending, mechanism), and what is wrong."""
    cells, wrong = [], []
    for phase, off in PHASES:
        ending = noted.get(phase)
        layer = next(((name, wanted.split("|")) for name, wanted in (item.split(":") for item in layers.split())
                      if (name in held and name not in off) or name in ("own", "scheduler", "output")), None)
        if ending is None:
            cells.append(("", ""))
        elif layer is None:
            cells.append((ending, ""))
            if phase == "all":
                wrong.append("nothing stands in its way here")
        else:
            cells.append((ending, layer[0] if ending in layer[1] else "?"))
            if ending not in layer[1]:
                wrong.append(f"{phase}: expected {'|'.join(layer[1])} by {layer[0]}, got {ending}")
    return cells, wrong


def table(mode, found):
    """[row of FIELDS], [what is wrong]."""
    lines, wrong = [], []
    for role in expected.ALL:
        held, noted, drops = set(found[role]["held"]), dict(found[role]["noted"]), found[role]["drops"]
        for attempt, roles, layers in expected.rows():
            if role in roles and attempt in noted:
                phases = noted.pop(attempt)
                heard = phases.get("bus")
                cells, bad = judge(layers, held, {"all": heard} if heard else phases)
                lines.append([MODES[mode], role, attempt, *(cell for pair in cells for cell in pair), "; ".join(bad) or "as meant"])
        for attempt, phases in list(noted.items()):
            if attempt.startswith("bad pointers: "):
                bad = [] if phases == {"all": "SIGSYS"} else [f"expected SIGSYS, got {phases}"]
                lines.append([MODES[mode], role, attempt, phases.get("all", ""), "seccomp", "", "", "", "",
                              "; ".join(bad) or "as meant"])
        for forgery, dropped in drops.items():
            lines.append([MODES[mode], role, forgery, "dropped" if dropped else "passed", "router", "", "", "", "",
                          "as meant" if dropped else "the router let it pass"])
    wrong = [line for line in lines if line[-1] != "as meant"]
    return lines, wrong


# ---- all ways ----

def command(mode, build, out, folder):
    """How this program is started in a mode; None: not from here."""
    argv = [sys.executable, "-B", os.path.abspath(__file__), "--build", build, "--mode", mode, out]
    if os.geteuid() != 0:
        return argv if mode == "user" else None
    if mode == "user":
        shutil.chown(folder, NOBODY, NOBODY)
        return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *argv]
    return ["unshare", "--mount", "--propagation", "private", *argv]


def copy_build(build, folder):
    """What every mode's user can read, whoever owns the build folder."""
    copy = os.path.join(folder, "build")
    places = ["core/kernel/tenond", "tests/confine/prober", "tests/integration/kernel_worker",
              "executors/agent/tenon-agent", *scenes.PROGRAMS.values()]
    places += [f"executors/{name}/manifest.json" for name in ("docker", "machine")]
    for place in places:
        os.makedirs(os.path.dirname(f"{copy}/{place}"), mode=0o755, exist_ok=True)
        shutil.copy(f"{build}/{place}", f"{copy}/{place}")
    return copy


def write_tables(build, lines):
    """For programs and for people."""
    folder = os.path.join(build, "tests", "confine")
    with open(folder + "/table.tsv", "w", encoding="utf-8") as file:
        file.writelines("\t".join(line) + "\n" for line in [FIELDS, *lines])
    widths = [max(len(line[i]) for line in [FIELDS, *lines]) for i in range(len(FIELDS))]
    with open(folder + "/table.txt", "w", encoding="utf-8") as file:
        file.writelines("  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip() + "\n"
                        for line in [FIELDS, *lines])
    return folder


def run_modes(build):
    """All ways of starting; 0 if every attempt was stopped by what was meant to."""
    lines, wrong, missing = [], [], []
    place = os.environ.get("TENON_TEST_FOLDER") or tempfile.gettempdir()
    with tempfile.TemporaryDirectory(prefix="confine", dir=place) as folder:
        os.chmod(folder, 0o755)
        if not os.stat(place).st_mode & stat.S_ISVTX:
            os.chmod(place, 0o711)
        copy = copy_build(build, folder)
        started = []
        for mode in MODES:
            own = os.path.join(folder, mode)
            os.mkdir(own, 0o711)
            argv = command(mode, copy, own + "/found.json", own)
            if argv is None:
                missing.append(MODES[mode])
                continue
            env = dict(os.environ, TMPDIR=own, HOME=own, TENON_BUILD=copy)
            started.append((mode, own, subprocess.Popen(argv, env=env)))
        for mode, own, process in started:
            if process.wait() != 0:
                return 1
            with open(own + "/found.json", encoding="utf-8") as file:
                found = json.load(file)
            more, bad = table(mode, found)
            lines += more
            wrong += bad
            for role in expected.ALL:
                print(f"{MODES[mode]}: {role}: {' '.join(found[role]['held'])}")
    folder = write_tables(build, lines)
    for line in wrong:
        print(f"{line[0]}: {line[1]}: {line[2]}: {line[-1]}")
    print(f"{len(lines)} attempts, {len(lines) - len(wrong)} stopped by what was meant to stop them; {folder}/table.txt")
    if missing:
        print(f"not shown, since this is not root: {', '.join(missing)}")
    return 1 if wrong else 0


def main():
    """Either everything, or one mode."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=os.environ.get("TENON_BUILD", os.path.join(HERE, "..", "..", "build")))
    parser.add_argument("--mode", choices=MODES)
    parser.add_argument("out", nargs="?")
    options = parser.parse_args()
    build = os.path.abspath(options.build)
    if os.path.basename(build).endswith("asan"):
        print("sanitizers need calls of their own: the other build shows what is refused")
        return 77
    if options.mode is None:
        return run_modes(build)
    os.umask(0o022)
    folder = os.path.dirname(options.out)
    if options.mode != "user":
        use_accounts(folder, options.mode == "users")
        pwd.getpwall()
    with open(options.out, "w", encoding="utf-8") as file:
        json.dump(probe(build, folder), file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
