# deadline: 120
"""The embedded default needs no daemon and no root: the example runs as an ordinary user, and leaves nothing."""

import os
import shutil
import subprocess

import tenon
from tenon import check, check_equal

USER = 65534

if os.geteuid() != 0:
    tenon.skip("needs root to become another user (the other tests of this run are unprivileged already)")

folder = os.path.join(os.environ["TENON_TEST_FOLDER"], "user")
env, program = tenon.build_for(USER, folder)
project = tenon.project(os.path.join(tenon.REPOSITORY, "examples", "hello"))
shutil.copytree(project, os.path.join(folder, "project"))
subprocess.run(["chown", "-R", f"{USER}:{USER}", folder + "/project"], check=True)

with tenon.Running(["run", "--executor", "docker=machine", "--json"], folder + "/project", env=env, user=USER,
                   program=program) as running:
    result = running.wait(60).expect(0)
check_equal(result.states(), {"greet": "succeeded", "test": "succeeded"}, "states of the jobs")
check_equal(result.log("greet", "Write the greeting"), "Hello, Tenon!\n", "log of the greeting")
check_equal(tenon.files_below(env["XDG_RUNTIME_DIR"]), [], "files left in the run folder")
check_equal(tenon.files_below(env["TMPDIR"]), [], "files left in the folder for temporary files")
others = [path for path in tenon.files_below(folder + "/state")
          if os.lstat(os.path.join(folder, "state", path)).st_uid != USER]
check(not others, f"files of another user: {others}")
tenon.check_nothing_left()
