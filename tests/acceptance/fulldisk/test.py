# deadline: 60
"""A full disk: the run says why nothing moves, and one Ctrl-C ends it."""

import os
import signal
import subprocess
import sys
import tempfile

import tenon
from tenon import check_equal, check_in

CONFIG = """version: 2.1
jobs:
  a:
    machine: true
    steps:
      - run: head -c 4000000 /dev/urandom | base64
      - run: echo the last step
workflows: {w: {jobs: [a]}}
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
if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], check=False).returncode != 0:
    tenon.skip("this machine mounts no file system")
tenon.write(os.path.join(folder, "config.yml"), CONFIG)


def start():
    """Starts a run and returns it once it has said that the disk is full."""
    process = subprocess.Popen([tenon.TENON, "run", "-c", "config.yml"], cwd=folder, text=True, errors="replace",
                               env=dict(os.environ, XDG_STATE_HOME=small), stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    for line in process.stdout:
        if "is full: jobs cannot go on" in line:
            return process
    return tenon.fail("the run does not say that its disk is full")


process = start()
process.send_signal(signal.SIGINT)
check_in("canceling at once", process.stdout.read(), "what is said to the first Ctrl-C")
check_equal(process.wait(10), 130, "exit code after it")
subprocess.run(["umount", small], check=True)
