"""tools/setup says what it would install before it does, and refuses what it does not understand. Nothing is installed:
the package that is missing here does not exist."""

import os
import shutil
import subprocess
import tempfile

import tenon
from tenon import check, check_equal, check_in


def setup(arguments, user=None, tools=os.path.join(tenon.REPOSITORY, "tools")):
    """Runs setup and returns (status, what it printed)."""
    identity = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    done = subprocess.run([tools + "/setup", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False, cwd="/", **identity)
    return done.returncode, done.stdout.decode(errors="replace")


status, text = setup(["--frobnicate"])
check_equal(status, 2, f"exit status for an unknown argument: {text}")
check_in("tools/setup: unknown argument '--frobnicate'", text, "the message")
check_equal(setup(["--help"])[0], 0, "exit status of --help")

# A folder that is somebody else's is never used, let alone emptied.
foreign = tempfile.mkdtemp()
tenon.write(foreign + "/precious", "text")
status, text = setup(["--build", foreign])
check_equal(status, 2, f"exit status for a folder with foreign files: {text}")
check_in(f"{foreign} is no build folder and not empty", text, "the message")
check_equal(os.listdir(foreign), ["precious"], "what lies in the foreign folder")

if os.geteuid() != 0:
    tenon.skip("the rest needs root to become another user")

copy = os.path.join(os.environ["TENON_TEST_FOLDER"], "copy")
os.chmod(os.environ["TENON_TEST_FOLDER"], 0o711)
os.mkdir(copy)
os.mkdir(copy + "/tools")
for name in ("setup", "packages.sh"):
    shutil.copy(os.path.join(tenon.REPOSITORY, "tools", name), copy + "/tools")
with open(copy + "/tools/packages.sh", "a", encoding="utf-8") as file:
    file.write("packages_build=\"bash tenon-test-absent\"\n")
status, text = setup([], user=65534, tools=copy + "/tools")
check_equal(status, 2, f"exit status without root: {text}")
check_in("apt-get update && apt-get install --yes --no-install-recommends tenon-test-absent\n", text, "the exact command")
check("Installing" not in text, f"it does not pretend to install: {text}")
