# deadline: 90
"""A disk that is full, becomes full, or is nearly full: a step that cannot save says how much it needs and fails alone;
a job whose output cannot be kept ends and says so; nothing begins while there is too little room; and a disk that is
full at the start is named."""

import os
import re
import shutil
import subprocess
import sys
import tempfile

import tenon
from tenon import check, check_equal, check_in

CONFIG = """version: 2.1
jobs:
  loud:
    machine: true
    steps:
      - run: head -c 12000000 /dev/urandom | base64
      - run: echo the last step
  still:
    machine: true
    steps:
      - run: echo begun; for i in $(seq 200); do echo tick; sleep 0.1; done
  saves:
    docker: [{image: "none:1"}]
    resource_class: small
    steps:
      - run: mkdir ~/big && head -c 18000000 /dev/urandom > ~/big/file && echo x > ~/small
      - persist_to_workspace: {name: fits, root: "~", paths: [small]}
      - save_cache: {name: too large, key: big, paths: [~/big]}
      - run: {name: then, when: always, command: echo went on}
      - store_artifacts: {name: artifact, path: ~/big, destination: big}
  persists:
    docker: [{image: "none:1"}]
    resource_class: small
    steps:
      - run: mkdir ~/big && head -c 18000000 /dev/urandom > ~/big/file
      - persist_to_workspace: {name: too large, root: "~", paths: [big]}
  beside:
    docker: [{image: "none:1"}]
    resource_class: small
    steps:
      - run: {name: counts, command: "for i in $(seq 2000); do echo line $i; done"}
  quick:
    machine: true
    steps:
      - run: echo was there
workflows:
  loud: {jobs: [loud]}
  still: {jobs: [still]}
  saves: {jobs: [saves, beside, persists: {requires: [saves: [failed]]}]}
  quick: {jobs: [quick]}
"""

if os.geteuid() != 0:
    tenon.skip("a small file system can only be mounted by root")
if "TENON_TEST_MOUNTS" not in os.environ:
    # In mounts of its own: nothing of them is left.
    os.execvpe("unshare", ["unshare", "--mount", sys.executable, "-B", __file__],
               dict(os.environ, TENON_TEST_MOUNTS="own"))

top = tempfile.mkdtemp()
small = os.path.join(top, "small")
folder = os.path.join(top, "project")  # beside: it is uploaded
os.mkdir(small)
os.mkdir(folder)
if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=9m", "tmpfs", small], check=False).returncode != 0:
    tenon.skip("this machine mounts no file system")
tenon.write(os.path.join(folder, "config.yml"), CONFIG)
for name, reserve in (("none", "0"), ("some", "2MB")):
    tenon.write(os.path.join(folder, name + ".yaml"), f"store: {{reserve: {reserve}}}\n")


def arguments(workflow, reserve):
    """What a run is started with."""
    return ["run", "-c", "config.yml", "--workflow", workflow, "--executor", "docker=machine", "--settings",
            reserve + ".yaml"]


def environment():
    """State on the small disk; jobs' own files elsewhere would be kind, but they lie there too."""
    return dict(os.environ, XDG_STATE_HOME=small)


def start(workflow, reserve):
    """Starts a run with its state on the small disk."""
    return subprocess.Popen([tenon.TENON, *arguments(workflow, reserve)], cwd=folder, text=True, errors="replace",
                            env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def wait_for(process, part):
    """Reads up to a line that holds `part`; returns it."""
    for line in process.stdout:
        if part in line:
            return line
    tenon.fail(f"the run does not say {part!r}")


def fill(leave=0):
    """Fills the small disk but for some bytes. Returns the file that does it."""
    path = os.path.join(small, "filler")
    with open(path, "wb", buffering=0) as file:
        try:
            while file.write(bytes(65536)) == 65536:
                pass
        except OSError:
            pass
        if leave:
            file.truncate(os.path.getsize(path) - leave)
    return path


def clear():
    """Empties the small disk."""
    for entry in os.listdir(small):
        path = os.path.join(small, entry)
        if os.path.isdir(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)


def check_output():
    """Output that cannot be kept ends the job."""
    process = start("loud", "none")
    text = process.stdout.read()
    check_equal(process.wait(30), 3, "exit code of a job whose output cannot be kept")
    check_in("its output cannot be kept: ", text[-4000:], "why the job ended")
    check_in("No space left on device", text[-4000:], "why the job ended")
    clear()
    process = start("still", "none")
    wait_for(process, "begun")
    fill()
    text = process.stdout.read()
    check_equal(process.wait(30), 3, "exit code of a quiet job when the disk becomes full")
    check_in("cannot", text, "why the job ended")
    clear()


def check_saves():
    """A save without room fails its step with the figures, and nothing else."""
    subprocess.run(["mount", "-o", "remount,size=32m", small], check=True)
    result = tenon.run([*arguments("saves", "some"), "--json"], folder, env={"XDG_STATE_HOME": small}).expect(1)
    check_equal(result.states(), {"saves": "failed", "beside": "succeeded", "persists": "failed"}, "states")
    steps = result.steps("saves")
    check_equal({name: steps[name]["state"] for name in ("fits", "too large", "then", "artifact")},
                {"fits": "succeeded", "too large": "failed", "then": "succeeded", "artifact": "failed"}, "steps")
    figures = r"needs at least [\d.]+ MiB, [\d.]+ [KM]iB are free on " + re.escape(small) + \
              r"/\S+ \([\d.]+ KiB of them are left to logs\)$"
    check(re.match("the cache cannot be stored: " + figures, steps["too large"]["reason"]),
          f"why the cache is not saved: {steps['too large']['reason']}")
    check_in(steps["too large"]["reason"], result.log("saves", "too large"), "the log says it, too")
    check(re.match(r"cannot store \S+/big: needs ", steps["artifact"]["reason"]),
          f"why the artifact is not stored: {steps['artifact']['reason']}")
    reason = result.steps("persists")["too large"]["reason"]
    check(re.match("the workspace layer cannot be stored: " + figures, reason), f"why the layer is not stored: {reason}")
    check_equal(result.log("beside", "counts"), "".join(f"line {i}\n" for i in range(1, 2001)), "the job beside")
    left = [name for name in tenon.files_below(small) if "partial" in name]
    check_equal(left, [], "what failed saves left")
    clear()


def check_admission():
    """Nothing begins while there is less room than is to stay free, and it goes on by itself."""
    filler = fill(leave=1500000)
    process = start("quick", "some")
    line = wait_for(process, "waits for room on the disk")
    check(re.search(r"waits for room on the disk: 1\.\d MiB are free on " + re.escape(small) +
                    r"/\S+, 1\.9 MiB are kept free \(store\.reserve\)", line), f"why the job waits: {line}")
    os.unlink(filler)
    text = process.stdout.read()
    check_equal(process.wait(30), 0, "exit code after there was room again")
    check_in("was there", text, "the job's output")
    clear()
    # Waiting can be ended.
    fill(leave=1500000)
    with tenon.Running(arguments("quick", "some"), folder, env=environment()) as running:
        running.wait_output("waits for room on the disk")
        running.signal()
        running.wait(30).expect(130)
    clear()


def check_full_at_start():
    """A disk that is full already is named, at once."""
    fill()
    result = tenon.run(arguments("quick", "some"), folder, env=environment()).expect(3)
    check(re.search(r"^tenon: the disk of " + re.escape(small) + r"/tenon\S* is full: [\d.]+ (B|KiB) are free, a run needs "
                    r"[\d.]+ MiB; make room there, or choose another disk with \$XDG_STATE_HOME$", result.err, re.M),
          f"why the run does not begin: {result}")
    check(result.seconds < 5 * tenon.SLOW, f"it took {result.seconds} s to say so")
    clear()


check_output()
check_saves()
check_admission()
check_full_at_start()
subprocess.run(["umount", small], check=True)
