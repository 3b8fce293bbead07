# deadline: 60
"""A disk that is full, or becomes full: a job whose output cannot be kept ends and says so, and so does the run."""

import os
import shutil
import subprocess
import sys
import tempfile

import tenon
from tenon import check_equal, check_in

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
workflows:
  loud: {jobs: [loud]}
  still: {jobs: [still]}
"""

if os.geteuid() != 0:
    tenon.skip("a small file system can only be mounted by root")
if "TENON_TEST_MOUNTS" not in os.environ:
    # In mounts of its own: nothing of them is left.
    os.execvpe("unshare", ["unshare", "--mount", sys.executable, "-B", __file__],
               dict(os.environ, TENON_TEST_MOUNTS="own"))

folder = tempfile.mkdtemp()
small = os.path.join(folder, "small")
os.mkdir(small)
if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=9m", "tmpfs", small], check=False).returncode != 0:
    tenon.skip("this machine mounts no file system")
tenon.write(os.path.join(folder, "config.yml"), CONFIG)




def start(workflow):
    """Starts a run with its state on the small disk."""
    return subprocess.Popen([tenon.TENON, "run", "-c", "config.yml", "--workflow", workflow], cwd=folder, text=True,
                            errors="replace", env=dict(os.environ, XDG_STATE_HOME=small), stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)


def wait_for(process, part):
    """Reads up to a line that holds `part`."""
    for line in process.stdout:
        if part in line:
            return
    tenon.fail(f"the run does not say {part!r}")


process = start("loud")
text = process.stdout.read()
check_equal(process.wait(30), 3, "exit code of a job whose output cannot be kept")
check_in("its output cannot be kept: ", text[-4000:], "why the job ended")
check_in("No space left on device", text[-4000:], "why the job ended")

shutil.rmtree(os.path.join(small, "tenon"))
process = start("still")
wait_for(process, "begun")
try:
    with open(os.path.join(small, "filler"), "wb", buffering=0) as file:
        while file.write(bytes(65536)) == 65536:
            pass
except OSError:
    pass
text = process.stdout.read()
check_equal(process.wait(30), 3, "exit code of a quiet job when the disk becomes full")
check_in("cannot", text, "why the job ended")
subprocess.run(["umount", small], check=True)
