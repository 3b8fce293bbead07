"""A hostile job: what a step tries on its own agent, on another job and on the installation. Prints one line an attempt,
`NAME: OUTCOME`, and the test compares them. Needs no more than Debian's python3-minimal."""

import os
import signal
import socket
import stat
import struct
import sys
import time
import zlib

SECRET = "-".join(["of", "the", "victim", "only"])  # no literal: it would find itself
FOLDERS = os.environ["HUNTED"].split(":")
NOBODY = 65534
ENGINES = ["/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock"]


def say(name, outcome):
    """One result."""
    print(f"{name}: {outcome}", flush=True)


def refused(action):
    """The name of the error that an action ended with, or "done"."""
    try:
        action()
        return "done"
    except OSError as error:
        return type(error).__name__ if type(error) is not OSError else os.strerror(error.errno)


def frame(kind, payload=b"", number=0):
    """A packet of the agent's protocol."""
    head = struct.pack("<IHHIIQI", 0x31414E54, kind, 0, 0, len(payload), number, zlib.crc32(payload) if payload else 0)
    return head + struct.pack("<I", zlib.crc32(head)) + payload


HELLO = frame(1, struct.pack("<I", 1) + bytes(16 + 16 + 24))


def read(path):
    """Bytes of a file, none if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20)
    except OSError:
        return b""


def pids():
    """All processes that are seen."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def as_nobody(action):
    """What an action returns as another user of the environment, if this one may become it."""
    if os.getuid() != 0:
        return "not root"
    back, there = os.pipe()
    if os.fork() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        os.write(there, str(action()).encode())
        os._exit(0)
    os.close(there)
    os.wait()
    return os.read(back, 1000).decode()


def talk(path, payload, connect_in_child=False):
    """What the agent answers to some bytes."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(5)
        try:
            if connect_in_child:
                if os.fork() == 0:
                    os._exit(link.connect_ex(path))
                error = os.waitstatus_to_exitcode(os.wait()[1])
                if error:
                    raise OSError(error, os.strerror(error))
            else:
                link.connect(path)
            link.sendall(payload)
            return "answered" if link.recv(100) else "refused"
        except (BrokenPipeError, ConnectionResetError):
            return "refused"
        except OSError as error:
            return type(error).__name__


def flood(path):
    """Connections until none can be made, and a good many more."""
    kept, answers = [], 0
    for _ in range(400):
        link = socket.socket(socket.AF_UNIX)
        link.setblocking(False)
        link.connect_ex(path)
        kept.append(link)
    for link in kept:
        try:
            link.send(HELLO[:20])
        except OSError:
            pass
    for link in kept:
        try:
            link.setblocking(True)
            link.settimeout(0.5)
            answers += bool(link.recv(1))
        except OSError:
            pass
        link.close()
    return f"{answers} answers"


def inherited():
    """Descriptors of a step."""
    kinds = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            kinds[int(name)] = os.readlink(f"/proc/self/fd/{name}").split(":")[0]
        except OSError:
            pass  # the listing's own
    say("inherited", ", ".join(f"{fd} {kinds[fd]}" for fd in sorted(kinds)))
    names = sorted(name for name in os.environ if "TENON" in name or "BUS" in name or "DOCKER" in name)
    say("variables", " ".join(names))


def the_agent():
    """Its memory, its descriptors, its life, its program."""
    agent = next(pid for pid in sorted(pids()) if b"tenon-agent\0serve" in read(f"/proc/{pid}/cmdline"))
    words = read(f"/proc/{agent}/cmdline").decode().split("\0")
    path = words[words.index("--listen") + 1]
    say("agent", agent)
    say("memory", refused(lambda: os.open(f"/proc/{agent}/mem", os.O_RDWR)))
    say("environment", refused(lambda: os.close(os.open(f"/proc/{agent}/environ", os.O_RDONLY))))
    say("descriptors", refused(lambda: [os.open(f"/proc/{agent}/fd/{name}", os.O_RDWR)
                                        for name in os.listdir(f"/proc/{agent}/fd")]))
    for number in (signal.SIGKILL, signal.SIGSTOP):
        say(number.name, refused(lambda at=number: os.kill(agent, at)))
    time.sleep(0.02)
    say("lives", read(f"/proc/{agent}/stat").decode().rpartition(") ")[2][0] in "RS")
    return path, words[0]


def the_socket(path):
    """Connections to the agent."""
    say("hello", talk(path, HELLO))
    say("hello of a child that ends", {talk(path, HELLO, True) for _ in range(20)})
    say("hello of another user", as_nobody(lambda: talk(path, HELLO)))
    say("garbage", talk(path, os.urandom(1 << 16)))
    say("a flood", flood(path))


def others():
    """What is known of other processes, and where secrets may lie."""
    seen = [pid for pid in pids() if SECRET.encode() in read(f"/proc/{pid}/environ") + read(f"/proc/{pid}/cmdline")]
    say("processes with the secret", len(seen))
    services = [pid for pid in pids() if any(name in read(f"/proc/{pid}/cmdline") for name in
                                             (b"tenon-scheduler", b"tenon-output", b"tenond\0", b"tenon-bus"))]
    say("services that are seen", len(services))
    found, sockets = [], []
    for folder in FOLDERS + ["/run", "/tmp", "/var/tmp", "/dev/shm", "/.tenon", os.path.expanduser("~")]:
        for base, _, names in os.walk(folder):
            for name in names:
                path = os.path.join(base, name)
                try:
                    mode = os.stat(path).st_mode
                except OSError:
                    continue
                if stat.S_ISSOCK(mode) and os.path.basename(path) != "agent.sock":
                    with socket.socket(socket.AF_UNIX) as link:
                        link.setblocking(False)
                        if refused(lambda at=link, to=path: at.connect(to)) == "done":
                            sockets.append(path)
                elif stat.S_ISREG(mode) and SECRET.encode() in read(path):
                    found.append(path)
    say("files with the secret", found)
    say("sockets", sockets)
    say("engines", [path for path in ENGINES if os.path.exists(path)])


def main():
    """All of it, the worst at the end."""
    inherited()
    path, program = the_agent()
    the_socket(path)
    others()
    if "--unlink" in sys.argv:
        say("beside the socket", " ".join(sorted(os.listdir(os.path.dirname(path)))))
        say("program", refused(lambda: os.unlink(program)))
        say("unlink", refused(lambda: os.unlink(path)))
        with socket.socket(socket.AF_UNIX) as fake:
            say("a socket in its place", refused(lambda: fake.bind(path)))
    print("all tried", flush=True)


main()
