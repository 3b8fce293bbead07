# deadline: 120
"""The embedded default needs no daemon and no root: the example runs as an ordinary user, and leaves nothing."""

import os
import shutil
import stat
import subprocess

import tenon
from tenon import check, check_equal

USER = 65534

if os.geteuid() != 0:
    tenon.skip("needs root to become another user (the other tests of this run are unprivileged already)")

# The repository may lie where only root may go: the user gets a copy of the build folder's programs.
folder = os.path.join(os.environ["TENON_TEST_FOLDER"], "user")
os.chmod(os.environ["TENON_TEST_FOLDER"], 0o711)
os.mkdir(folder, 0o700)
build = os.path.join(folder, "build")


def not_needed(base, names):
    """Keeps folders, programs and manifests."""
    kept = []
    for name in names:
        path = os.path.join(base, name)
        mode = os.lstat(path).st_mode
        if stat.S_ISDIR(mode) and not name.endswith(".p") and name not in ("meson-private", "meson-logs", "tests"):
            kept.append(name)
        elif stat.S_ISREG(mode) and (mode & 0o100 or name.endswith((".so", "manifest.json"))):
            kept.append(name)
    return set(names) - set(kept)


shutil.copytree(tenon.BUILD, build, ignore=not_needed)
project = tenon.project(os.path.join(tenon.REPOSITORY, "examples", "hello"))
shutil.copytree(project, os.path.join(folder, "project"))
env = {"HOME": folder + "/home", "TMPDIR": folder + "/tmp", "XDG_STATE_HOME": folder + "/state",
       "XDG_RUNTIME_DIR": folder + "/run"}
for path in env.values():
    os.mkdir(path, 0o700)
subprocess.run(["chown", "-R", f"{USER}:{USER}", folder], check=True)

with tenon.Running(["run", "--executor", "docker=machine", "--json"], folder + "/project", env=env, user=USER,
                   program=build + "/tools/tenon") as running:
    result = running.wait(60).expect(0)
check_equal(result.states(), {"greet": "succeeded", "test": "succeeded"}, "states of the jobs")
check_equal(result.log("greet", "Write the greeting"), "Hello, Tenon!\n", "log of the greeting")
check_equal(tenon.files_below(env["XDG_RUNTIME_DIR"]), [], "files left in the run folder")
check_equal(tenon.files_below(env["TMPDIR"]), [], "files left in the folder for temporary files")
others = [path for path in tenon.files_below(folder + "/state")
          if os.lstat(os.path.join(folder, "state", path)).st_uid != USER]
check(not others, f"files of another user: {others}")
tenon.check_nothing_left()
