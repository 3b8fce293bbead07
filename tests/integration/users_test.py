"""tools/users makes, lists and removes the system users of our processes: in a mount namespace with an /etc of its own, so
that the users of this host stay as they are."""

import ctypes
import os
import shutil
import signal
import subprocess
import tempfile

import tenon
from tenon import check, check_equal, check_in

CLONE_NEWNS = 0x20000
TOOL = os.path.join(tenon.REPOSITORY, "tools/users")
NAMES = ["tenon-bus", "tenon-scheduler", "tenon-compiler", "tenon-output", "tenon-docker", "tenon-machine"]
DATABASES = ["passwd", "group", "shadow", "gshadow"]


def users(*arguments, user=None):
    """Runs tools/users; returns (status, what it printed)."""
    identity = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    done = subprocess.run([TOOL, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False, cwd="/", timeout=60, **identity)
    return done.returncode, done.stdout.decode(errors="replace")


def databases():
    """The bytes of the files that hold users and groups."""
    return {name: tenon.read(f"/etc/{name}") for name in DATABASES}


def rows(name):
    """One of the files as {name: fields}."""
    return {line.split(":")[0]: line.split(":") for line in tenon.read(f"/etc/{name}").splitlines()}


def own_etc():
    """From here on this process and its children see a copy of /etc, that nobody else does."""
    copy = tempfile.mkdtemp(dir=os.environ["TENON_TEST_FOLDER"])
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        tenon.skip(f"no mount namespace: {os.strerror(ctypes.get_errno())}")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["cp", "-a", "/etc/.", copy], check=True)
    os.chmod(copy, 0o755)
    subprocess.run(["mount", "--bind", copy, "/etc"], check=True)


status, text = users("--frobnicate")
check_equal(status, 2, f"exit status for an unknown argument: {text}")
check_in("tools/users: unknown argument '--frobnicate'\nusage: tools/users [make | list | remove]\n", text, "the message")
check_equal(users("--help")[0], 0, "exit status of --help")
check_equal([line.split()[0] for line in users("list")[1].splitlines()], NAMES, "the names of the table")
if os.geteuid() != 0:
    tenon.skip("the rest needs root and a mount namespace")

own_etc()
status, text = users("remove")
check_equal(status, 0, f"exit status of a first removal: {text}")
before = databases()
check_equal(users("list"), (0, "".join(f"{name} missing\n" for name in NAMES)), "the list before")
check_equal(users("remove"), (0, ""), "what removing nothing says")

status, text = users(user=65534)
check_equal((status, text), (2, "tools/users: would make the system users " + " ".join(NAMES) +
                             "; that needs root: run it as root\n"), "what it says without root")
check_equal(databases(), before, "users and groups after a call without root")

status, text = users()
check_equal((status, text), (0, "Making the system users " + " ".join(NAMES) + "\n"), "what it says as root")
passwd, group, shadow, gshadow = (rows(name) for name in DATABASES)
for name in NAMES:
    _, _, uid, gid, _, home, shell = passwd[name]
    check(0 < int(uid) < 1000, f"{name} is one of the system's users: {uid}")
    check_equal((home, shell), ("/nonexistent", "/usr/sbin/nologin"), f"home and shell of {name}")
    check_equal(group[name][2:], [gid, ""], f"number and members of the group {name}")
    check(shadow[name][1] in ("!", "!*", "*"), f"{name} has no password: {shadow[name][1]}")
    check(gshadow[name][1] in ("!", "*"), f"the group {name} has no password")
check_equal(len({passwd[name][2] for name in NAMES}), len(NAMES), "different user numbers")
check_equal(len({passwd[name][3] for name in NAMES}), len(NAMES), "different groups")
for name in ("subuid", "subgid"):
    if os.path.exists(f"/etc/{name}"):
        check("tenon-" not in tenon.read(f"/etc/{name}"), f"/etc/{name} gives them no further numbers")
check_equal(users("list"), (0, "".join(f"{name} {passwd[name][2]} {passwd[name][3]}\n" for name in NAMES)), "the list")

made = databases()
check_equal(users("make"), (0, ""), "what a second call says")
check_equal(users(user=65534), (0, ""), "what it says without root when there is nothing to do")
if shutil.which("systemd-sysusers"):
    subprocess.run(["systemd-sysusers", TOOL.replace("users", "tenon.sysusers")], check=True, timeout=60)
check_equal(databases(), made, "users and groups after a second call")

# Somebody else's account of that name is not taken, and not changed.
subprocess.run(["usermod", "--shell", "/bin/bash", "tenon-bus"], check=True, stdout=subprocess.DEVNULL)
status, text = users()
check_equal((status, text), (1, "tools/users: the user tenon-bus is there, and its home is /nonexistent and its shell "
                             "/bin/bash, not /nonexistent and /usr/sbin/nologin; remove it, or let it be as "
                             "tools/tenon.sysusers says\n"), "what it says of an account that is not ours")
subprocess.run(["usermod", "--shell", "/usr/sbin/nologin", "tenon-bus"], check=True, stdout=subprocess.DEVNULL)

# A user in use is not removed.
sleeper = subprocess.Popen(["sleep", "100"], user=int(passwd["tenon-bus"][2]), group=int(passwd["tenon-bus"][3]))
status, text = users("remove")
check(status != 0, f"exit status while a process is running: {status} {text}")
check_in(f"user tenon-bus is currently used by process {sleeper.pid}", text, "the reason")
sleeper.send_signal(signal.SIGKILL)
sleeper.wait()
status, text = users("remove")
check_equal((status, text), (0, "Removing the system users " + " ".join(NAMES) + "\n"), "what removing says")
check_equal(databases(), before, "users and groups after removing them")
