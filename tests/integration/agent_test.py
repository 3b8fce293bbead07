#!/usr/bin/env python3
"""Drives the real tenon-agent over its socket with an independent implementation of proto/AGENT.md.

usage: agent_test.py [AGENT]      AGENT defaults to $TENON_AGENT. $TENON_AGENT_RUN may hold an emulator to run it with.
Exit status: 0 all passed, 1 something failed, 77 skipped."""
import hashlib
import io
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import traceback
import zlib

DEADLINE = 240
MAGIC = 0x31414E54
HELLO, ACK, SPAWN, STDIN, STDIN_EOF, SIGNAL, TREE_PUT, TREE_GET, FILE_GET, SHUTDOWN = range(1, 11)
WELCOME, DATA, DONE, REPLACED = range(65, 69)
OUT, SPAWNED, EXIT, WINDOW, WARN, ERROR = range(1, 7)
OK, GAP, BEYOND, OTHER = range(4)
NO_BOOT = bytes(16)

AGENT = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("TENON_AGENT", "")
AGENT = os.path.abspath(AGENT) if AGENT else ""
RUN = os.environ.get("TENON_AGENT_RUN", "").split()


def packet(kind, channel=0, number=0, payload=b""):
    head = struct.pack("<IHHIIQI", MAGIC, kind, 0, channel, len(payload), number, zlib.crc32(payload) if payload else 0)
    return head + struct.pack("<I", zlib.crc32(head)) + payload


def word(text):
    raw = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<I", len(raw)) + raw + b"\0"


class Agent:
    def __init__(self, *options, listen=True):
        self.dir = tempfile.mkdtemp(prefix="tenon-agent-")
        self.path = self.dir + "/s"
        if "--peer" in options and os.getuid() == 0:  # as whom it then makes its socket
            os.chown(self.dir, int(options[options.index("--peer") + 1]), -1)
        command = RUN + [AGENT, "serve", "--dir", self.dir, *options] + (["--listen", self.path] if listen else [])
        self.started = time.monotonic()
        pipe = subprocess.PIPE if "--stdio" in options else None
        self.process = subprocess.Popen(command, stderr=open(self.dir + "/log", "wb"), pass_fds=self.fds(options),
                                        stdin=pipe, stdout=pipe, bufsize=0)

    @staticmethod
    def fds(options):
        return [int(options[options.index("--fd") + 1])] if "--fd" in options else []

    def connect(self, **kind):
        end = time.monotonic() + 20
        while True:
            sock = socket.socket(socket.AF_UNIX)
            try:
                sock.connect(self.path)
                return Link(sock, **kind)
            except (FileNotFoundError, ConnectionRefusedError):
                sock.close()
                assert time.monotonic() < end and self.process.poll() is None, "the agent does not listen"
                time.sleep(0.001)

    def close(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


class Link:
    """One connection: sends commands, reads frames, keeps the offset."""

    def __init__(self, sock, boot=NO_BOOT, offset=0, life=None, acked=0, hello=True):
        self.sock, self.boot, self.offset, self.number = sock, boot, offset, acked
        self.life = life if life is not None else random.getrandbits(64)
        self.raw, self.stream, self.done, self.auto_ack = b"", bytearray(), acked, True
        self.sock.settimeout(30)
        if hello:
            self.hello()

    def hello(self):
        nonce = os.urandom(16)
        self.nonce = nonce
        self.sock.sendall(packet(HELLO, payload=struct.pack("<I", 1) + nonce + self.boot + struct.pack(
            "<QQQ", self.life, self.number, self.offset)))
        while True:
            kind, _, _, payload = self.packet()
            if kind == WELCOME and payload[8:24] == nonce:
                break
        _, self.result = struct.unpack_from("<II", payload)
        self.boot = payload[24:40]
        self.start, self.head, self.applied, facts = struct.unpack_from("<QQQI", payload, 40)
        self.facts = dict(line.split("=", 1) for line in payload[68:68 + facts].decode().splitlines())
        self.offset = self.received = self.start

    def read(self, count):
        while len(self.raw) < count:
            more = self.sock.recv(1 << 18)
            if not more:
                raise ConnectionError("closed")
            self.raw += more
        out, self.raw = self.raw[:count], self.raw[count:]
        return out

    def packet(self):
        head = self.read(32)
        magic, kind, zero, channel, length, number, crc, head_crc = struct.unpack("<IHHIIQII", head)
        assert magic == MAGIC and zero == 0 and head_crc == zlib.crc32(head[:28]), "a bad packet header"
        payload = self.read(length)
        assert kind == DATA or zlib.crc32(payload) == crc
        return kind, channel, number, payload

    def frame(self):
        """The next frame: (type, channel, payload)."""
        while True:
            if len(self.stream) >= 12:
                channel, kind, length = struct.unpack_from("<IB3xI", self.stream)
                if len(self.stream) >= 12 + length:
                    payload = bytes(self.stream[12:12 + length])
                    del self.stream[:12 + length]
                    self.offset += 12 + length
                    if self.auto_ack:
                        self.ack()
                    return kind, channel, payload
            kind, _, number, payload = self.packet()
            if kind == DATA:
                assert number == self.received, "the stream has a hole"
                self.received += len(payload)
                self.stream += payload
            elif kind == DONE:
                self.done = number
            elif kind == REPLACED:
                raise ConnectionError("replaced")

    def ack(self, offset=None):
        self.sock.sendall(packet(ACK, number=self.offset if offset is None else offset))

    def command(self, kind, channel, payload=b""):
        self.number += 1
        self.sock.sendall(packet(kind, channel, self.number, payload))

    def spawn(self, channel, argv, env=None, cwd="", user="", flags=0):
        env = {"PATH": os.environ["PATH"]} if env is None else env
        self.command(SPAWN, channel, struct.pack("<III", flags, len(argv), len(env)) + word(cwd) + word(user) +
                     b"".join(map(word, argv)) + b"".join(word(f"{k}={v}") for k, v in env.items()))

    def sh(self, channel, text, **more):
        self.spawn(channel, ["/bin/sh", "-c", text], **more)

    def tree(self, kind, channel, path, paths=(), flags=0, limit=0):
        self.command(kind, channel, struct.pack("<IIQ", flags, len(paths), limit) + word(path) +
                     b"".join(map(word, paths)))

    def stdin(self, channel, data):
        """Sends all within the window, then the end. Returns the frames that came meanwhile."""
        sent, limit, frames = 0, 262144, []
        while sent < len(data):
            while sent == limit:
                frames.append(self.frame())
                if frames[-1][0] == WINDOW and frames[-1][1] == channel:
                    limit = struct.unpack("<QQ", frames[-1][2])[1]
                if frames[-1][0] == EXIT and frames[-1][1] == channel:
                    return frames
            part = data[sent:min(sent + 65536, limit)]
            self.command(STDIN, channel, struct.pack("<Q", sent) + part)
            sent += len(part)
        self.command(STDIN_EOF, channel, struct.pack("<Q", sent))
        return frames

    def finish(self, channel, frames=()):
        """Everything of the channel up to its end."""
        end = End()
        frames = list(frames)
        while True:
            kind, number, payload = frames.pop(0) if frames else self.frame()
            if number != channel:
                continue
            if kind == OUT:
                end.out += payload
            elif kind == SPAWNED:
                end.pid = struct.unpack("<I", payload[:4])[0]
            elif kind == WARN:
                end.warnings.append((struct.unpack("<I", payload[:4])[0], payload[4:].decode()))
            elif kind == EXIT:
                end.kind, end.flags, end.code = struct.unpack_from("<BB2xI", payload)
                end.text = payload[8:].decode()
                return end

    def run(self, channel, text, **more):
        self.sh(channel, text, **more)
        return self.finish(channel)


class End:
    def __init__(self):
        self.out, self.warnings, self.pid, self.text = bytearray(), [], None, ""

    @property
    def result(self):
        return self.kind, self.code


def gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until(true, what):
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.002)


def agent_test(*options, emulated=True):
    """emulated: it can be tested under an emulator, which runs neither the agent's names nor the subreaper."""
    def decorate(function):
        def run():
            if RUN and not emulated:
                print(f"  left out under {RUN[0]}")
                return
            agent = Agent(*options)
            try:
                function(agent)
            except BaseException:
                with open(agent.dir + "/log") as log:
                    sys.stderr.write(log.read())
                raise
            finally:
                agent.close()
        run.__name__ = function.__name__
        TESTS.append(run)
        return run
    return decorate


TESTS = []


@agent_test()
def test_hello(agent):
    link = agent.connect()
    print(f"  start to hello {1000 * (time.monotonic() - agent.started):.1f} ms")
    assert link.result == OK and link.head == 0 and link.boot != NO_BOOT
    assert link.facts["os"] == "linux" and link.facts["uid"] == str(os.getuid()) and link.facts["shell_sh"] == "/bin/sh"
    assert os.path.islink(link.facts["bin"] + "/circleci") and link.facts["pid1"] == "0"
    begin = time.monotonic()
    for channel in range(1, 201):
        link.spawn(channel, ["/bin/true"])
        assert link.finish(channel).result == (0, 0)
    print(f"  a step {5 * (time.monotonic() - begin):.2f} ms")


@agent_test()
def test_exits(agent):
    link = agent.connect()
    assert link.run(1, "exit 7").result == (0, 7)
    assert link.run(2, "kill -9 $$").result == (1, 9)
    end = link.run(3, "echo one; echo two >&2; echo three")
    assert end.out == b"one\ntwo\nthree\n" and end.pid > 0
    end = link.run(4, "env; pwd", env={"PATH": "/usr/bin:/bin", "A": "b c", "TENON_HALT_FILE": "x"}, cwd="/tmp")
    lines = end.out.decode().splitlines()
    assert "A=b c" in lines and lines[-1] == "/tmp" and "TENON_HALT_FILE=x" not in lines
    link.spawn(5, ["/bin/foo"])
    end = link.finish(5)
    assert end.kind == 2 and end.text == "no such file: /bin/foo" and end.pid is None, end.text
    link.spawn(6, ["nothere"], env={"PATH": "/bin"})
    assert link.finish(6).text == 'no program "nothere" in the PATH /bin'
    link.spawn(7, ["/bin/true"], cwd="/nowhere")
    assert link.finish(7).text == "cannot enter the folder /nowhere: No such file or directory"
    link.spawn(8, ["/bin/true"], user="nobody-here")
    assert link.finish(8).text == 'no user "nobody-here" in /etc/passwd of this environment'
    script = agent.dir + "/script"
    with open(script, "w") as file:
        file.write("#!/no/interpreter\n")
    os.chmod(script, 0o755)
    link.spawn(9, [script])
    assert "interpreter" in link.finish(9).text
    if os.getuid() == 0:
        assert link.run(10, "id -un", user="nobody").out == b"nobody\n"
        assert link.run(11, "id -u; id -g", user="1234:99").out == b"1234\n99\n"
    # A command that is repeated does nothing, also when its channel is over.
    link.sh(1, "echo again")
    assert link.run(12, "echo last").out == b"last\n"
    link.command(SPAWN, 13, b"\1" * 40)
    assert link.finish(13).kind == 2


@agent_test(emulated=False)
def test_signals(agent):
    link = agent.connect()
    link.sh(1, "trap 'echo got; exit 3' TERM; echo ready; while :; do sleep 0.05; done")
    while link.frame()[0] != OUT:
        pass
    link.command(SIGNAL, 1, struct.pack("<II", signal.SIGTERM, 0))
    end = link.finish(1)
    assert end.result == (0, 3) and b"got" in end.out
    # A daemon that left the session and lost its parent is still part of the tree.
    link.sh(2, "setsid sh -c 'setsid sleep 1000 & echo $!; exec sleep 1001' & wait")
    pid = None
    while pid is None:
        kind, _, payload = link.frame()
        pid = int(payload) if kind == OUT else None
    link.command(SIGNAL, 2, struct.pack("<II", signal.SIGKILL, 1))
    assert link.finish(2).result == (1, 9)
    wait_until(lambda: gone(pid), "the escaped daemon lives")
    # Who ignores TERM goes when the first process of the channel has gone.
    link.sh(3, "(trap '' TERM; sleep 1000 & setsid sleep 1001 & echo $!; wait) & wait")
    pid = None
    while pid is None:
        kind, _, payload = link.frame()
        pid = int(payload) if kind == OUT else None
    link.command(SIGNAL, 3, struct.pack("<II", signal.SIGTERM, 0))
    assert link.finish(3).result == (1, 15)
    assert gone(pid), "what left the group lives on after TERM"


@agent_test()
def test_stdin(agent):
    link = agent.connect()
    data = random.randbytes(3 << 20)
    link.spawn(1, ["sha256sum"], flags=1)
    end = link.finish(1, link.stdin(1, data))
    assert end.out.split()[0].decode() == hashlib.sha256(data).hexdigest()
    # Repeated and overlapping pieces count once.
    link.spawn(2, ["cat"], flags=1)
    for offset, part in ((0, b"abc"), (0, b"abc"), (2, b"cdef"), (1, b"bc")):
        link.command(STDIN, 2, struct.pack("<Q", offset) + part)
    link.command(STDIN_EOF, 2, struct.pack("<Q", 6))
    assert link.finish(2).out == b"abcdef"
    # Who closes stdin early does not stall the sender.
    link.spawn(3, ["/bin/sh", "-c", "exec <&-; sleep 0.3; echo bye"], flags=1)
    end = link.finish(3, link.stdin(3, data))
    assert end.out == b"bye\n"
    assert link.run(4, "cat").out == b""


@agent_test(emulated=False)
def test_daemons(agent):
    link = agent.connect()
    begin = time.monotonic()
    end = link.run(1, "(sleep 1000; echo x) & echo $!; echo done")
    took = time.monotonic() - begin
    pid = int(end.out.split()[0])
    assert end.flags & 2 and b"done" in end.out and took < 1.5, took
    assert not gone(pid), "a daemon must outlive its step"
    # Its output has nowhere to go, but it must not die of it.
    begin = time.monotonic()
    end = link.run(2, "(while :; do echo noise; sleep 0.01; done) & echo $!")
    took = time.monotonic() - begin
    noisy = int(end.out.split()[0])
    assert end.flags & 2 and 1.5 < took < 4, took
    link.run(3, "sleep 0.3")
    assert not gone(noisy)
    # What comes shortly after the shell's end still counts.
    end = link.run(4, "(sleep 0.1; echo late) & exit 5")
    assert end.out == b"late\n" and end.result == (0, 5) and end.flags & 2 == 0
    escaped = int(link.run(5, "setsid sh -c '(setsid sleep 1000 >/dev/null 2>&1 & echo $!)'").out)
    link.command(SHUTDOWN, 0)
    try:
        while link.done != link.number:
            link.frame()
    except ConnectionError:
        assert link.done == link.number, "no DONE for the SHUTDOWN"
    assert agent.process.wait(10) == 0
    assert all(map(gone, (pid, noisy, escaped))), "a process outlived the agent"
    assert not os.path.exists(agent.path)


@agent_test("--grace", "300")
def test_term(agent):
    link = agent.connect()
    link.sh(1, "trap '' TERM; echo $$; sleep 1000 & wait; sleep 1000")
    pid = None
    while pid is None:
        kind, _, payload = link.frame()
        pid = int(payload) if kind == OUT else None
    agent.process.terminate()
    assert agent.process.wait(10) == 143 and gone(pid)


@agent_test(emulated=False)
def test_ending(agent):
    """A command that dies because the agent was told to end says so: that is no failure of the step."""
    link = agent.connect()
    link.sh(1, "trap 'exit 4' TERM; echo ready; while :; do sleep 0.05; done")
    while link.frame()[0] != OUT:
        pass
    agent.process.terminate()
    end = link.finish(1)
    assert end.code == 4 and end.flags & 8, (end.code, end.flags)


@agent_test(emulated=False)
def test_halt(agent):
    link = agent.connect()
    path = link.facts["bin"] + ":" + os.environ["PATH"]
    end = link.run(1, "circleci-agent step halt; exit 0", env={"PATH": path})
    assert end.flags & 1 and end.result == (0, 0)
    assert link.run(2, "true", env={"PATH": path}).flags & 1 == 0
    assert link.run(3, "circleci task halt", env={"PATH": path}).flags & 1
    assert not [name for name in os.listdir(agent.dir) if name.startswith("halt-")]


@agent_test()
def test_big_output(agent):
    size = 200 << 20
    link = agent.connect()
    link.auto_ack = False
    begin = time.monotonic()
    link.sh(1, f"head -c {size} /dev/zero | tr '\\0' 'x'")
    count = since = 0
    digest = hashlib.sha256()
    while True:
        kind, _, payload = link.frame()
        if kind == EXIT:
            break
        if kind == OUT:
            digest.update(payload)
            count += len(payload)
        since += len(payload)
        if since > 1 << 20:
            link.ack()
            since = 0
    took = time.monotonic() - begin
    assert count == size, count
    expected = hashlib.sha256()
    for _ in range(200):
        expected.update(b"x" * (1 << 20))
    assert digest.digest() == expected.digest()
    print(f"  {size / took / 1e6:.0f} MB/s with this client, hashed")


@agent_test("--spool", "1048576")
def test_spool_bound(agent):
    link = agent.connect()
    link.auto_ack = False
    link.sh(1, "head -c 50000000 /dev/zero; echo end")
    count = 0
    while count < 900000:
        kind, _, payload = link.frame()
        count += len(payload) if kind == OUT else 0
    link.sock.settimeout(0.5)
    try:
        while True:
            kind, _, payload = link.frame()
            count += len(payload) if kind == OUT else 0
    except TimeoutError:
        pass
    assert count < 1048576, "more was sent than the spool holds, without an acknowledgement"
    with open(f"/proc/{agent.process.pid}/status") as file:
        status = dict(line.split(":", 1) for line in file)
    if not RUN:
        assert int(status["VmHWM"].split()[0]) < 6000, status["VmHWM"]
    link.sock.settimeout(30)
    link.auto_ack = True
    link.ack()
    end = link.finish(1)
    assert count + len(end.out) == 50000004 and end.out.endswith(b"end\n")


@agent_test()
def test_disconnects(agent):
    link = agent.connect()
    # Every line has a number, so a lost or doubled byte shows.
    link.sh(1, "i=0; while [ $i -lt 600 ]; do seq $((i * 700 + 1)) $((i * 700 + 700)); i=$((i + 1)); done; exit 9")
    out, cuts, ended = bytearray(), 0, None
    safe = 0
    rng = random.Random(7)
    life, boot = link.life, link.boot
    link.auto_ack = False
    while ended is None:
        budget = rng.randrange(1, 12000)
        try:
            while budget > 0 or cuts >= 200:
                before = link.offset
                kind, _, payload = link.frame()
                if kind == OUT:
                    out += payload
                if kind == EXIT:
                    ended = struct.unpack_from("<BB2xI", payload)
                    break
                safe = link.offset
                if rng.randrange(3) == 0:
                    link.ack(rng.choice((before, safe)))
                budget -= len(payload)
        except ConnectionError:
            pass
        if ended is None:
            # At any moment, in the middle of a packet too; sometimes the old connection stays open.
            if rng.randrange(2):
                link.sock.close()
            cuts += 1
            number = link.number
            link = agent.connect(boot=boot, offset=safe, life=life, acked=number)
            assert link.result == OK and link.start == safe
            link.auto_ack = False
    assert cuts >= 200, f"only {cuts} cuts"
    assert out == b"".join(b"%d\n" % n for n in range(1, 420001)), "bytes were lost or doubled"
    assert ended[0] == 0 and ended[2] == 9


@agent_test()
def test_adoption(agent):
    link = agent.connect()
    link.sh(1, "echo first; while [ ! -e go ]; do sleep 0.01; done; echo second", cwd=agent.dir)
    while link.frame()[0] != OUT:
        pass
    position, boot = link.offset, link.boot
    second = agent.connect(boot=boot, offset=position)
    assert second.result == OK
    try:
        while True:
            link.frame()
    except ConnectionError:
        pass
    # The new executor repeats the command it is not sure about.
    second.sh(1, "echo wrong")
    open(agent.dir + "/go", "w").close()
    assert second.finish(1).out == b"second\n"
    assert agent.connect(boot=boot, offset=0).result == GAP
    assert agent.connect(boot=boot, offset=1 << 40).result == BEYOND
    assert agent.connect(boot=b"x" * 16, offset=0).result == OTHER


@agent_test()
def test_hostile(agent):
    link = agent.connect()
    link.sh(1, "while [ ! -e go ]; do sleep 0.01; done; echo well", cwd=agent.dir)
    giant = struct.pack("<IHHIIQI", MAGIC, SPAWN, 0, 1, 0xFFFFFFFF, 1, 0)
    bad = packet(HELLO, payload=bytes(60))
    attacks = [os.urandom(100000), bad[:40] + b"!" + bad[41:], giant + struct.pack("<I", zlib.crc32(giant)) + bytes(99),
               packet(SPAWN, 1, 1, bytes(1 << 20)), packet(ACK, number=1 << 50), bytes(1 << 16), packet(99),
               packet(HELLO, payload=bytes(59))]
    for attack in attacks:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(agent.path)
        sock.settimeout(10)
        try:
            sock.sendall(attack)
            assert sock.recv(1) == b"", "a hostile connection was answered"
        except (BrokenPipeError, ConnectionResetError):
            pass
        sock.close()
    idle = [socket.socket(socket.AF_UNIX) for _ in range(30)]
    for sock in idle:
        sock.connect(agent.path)
    # After a good HELLO: acknowledging what was never sent, commands out of order, stdin beyond the window.
    for evil in (packet(ACK, number=1 << 50), packet(SPAWN, 5, 77, bytes(40)), packet(SIGNAL, 1, 1, bytes(8))):
        other = agent.connect(boot=link.boot)
        other.sock.sendall(evil)
        try:
            while True:
                other.frame()
        except (ConnectionError, ConnectionResetError):
            pass
    link = agent.connect(boot=link.boot)
    open(agent.dir + "/go", "w").close()
    assert link.finish(1).out == b"well\n"
    # A step cannot drive its own agent.
    text = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({agent.path!r}); print(s.recv(1))"
    link.spawn(2, [sys.executable, "-c", text])
    assert link.finish(2).out == b"b''\n"


# What a step tries on its own agent: connect in a child that ends while the agent is stopped, so that nobody can tell
# whose child it was; the agent's memory; its descriptors.
ATTACK = """
import os, signal, socket, sys
path, agent, hello = sys.argv[1], int(sys.argv[2]), bytes.fromhex(sys.argv[3])
s = socket.socket(socket.AF_UNIX)
os.kill(agent, signal.SIGSTOP)
child = os.fork()
if child == 0:
    s.connect(path)
    os._exit(0)
os.waitpid(child, 0)
os.kill(agent, signal.SIGCONT)
s.settimeout(10)
try:
    s.sendall(hello)
    print(s.recv(100))
except (BrokenPipeError, ConnectionResetError) as error:
    print(b"")
"""


@agent_test(emulated=False)
def test_attacked(agent):
    link = agent.connect()
    hello = packet(HELLO, payload=struct.pack("<I", 1) + bytes(16 + 16 + 24))
    link.spawn(1, [sys.executable, "-c", ATTACK, agent.path, str(agent.process.pid), hello.hex()])
    assert link.finish(1).out == b"b''\n", "a process that is gone was taken for an executor"
    flood = "import socket\nfor i in range(300): s = socket.socket(socket.AF_UNIX); s.connect('%s')" % agent.path
    link.spawn(2, [sys.executable, "-c", flood])
    assert link.finish(2).code == 0
    with open(agent.dir + "/log") as log:
        lines = log.read().splitlines()
    assert len(lines) < 15 and "it has ended, so nobody can tell" in lines[0] and "256 so far" in lines[-1], lines
    link.sh(3, "ls -l /proc/self/fd | sed -n 's/.* \\([0-9]*\\) -> .*/\\1/p'")
    assert link.finish(3).out == b"0\n1\n2\n3\n", "a step inherits a descriptor"  # 3: the folder that ls reads
    assert os.stat(f"/proc/{agent.process.pid}/mem").st_uid == 0


@agent_test("--peer", "65533")
def test_peer(agent):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(10)
    wait_until(lambda: os.path.exists(agent.path) and sock.connect_ex(agent.path) == 0, "the agent listens")
    try:
        sock.sendall(packet(HELLO, payload=struct.pack("<I", 1) + bytes(16 + 16 + 24)))
        assert sock.recv(1) == b"", "another user was taken for the executor"
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert "it is not the executor's user" in open(agent.dir + "/log").read()


def test_inherited():
    ours, theirs = socket.socketpair()
    agent = Agent("--fd", str(theirs.fileno()), listen=False)
    theirs.close()
    try:
        link = Link(ours)
        assert link.run(1, "echo one").out == b"one\n"
        # The next executor on the same port: torn bytes of the last one come first.
        ours.sendall(packet(SPAWN, 2, 2, bytes(1 << 20))[:5000] + bytes((1 << 20) + 64))
        again = Link(ours, boot=link.boot, offset=link.offset)
        assert again.result == OK and again.run(3, "echo three").out == b"three\n"
        ours.close()
        assert agent.process.wait(10) == 0
    finally:
        agent.close()


TESTS.append(test_inherited)


class Pipes:
    """The agent's stdin and stdout as one connection, as Docker's attach has it."""

    def __init__(self, process):
        self.to, self.out = process.stdin, process.stdout

    def settimeout(self, _):
        pass

    def sendall(self, data):
        while data:
            data = data[self.to.write(data):]

    def recv(self, size):
        return self.out.read(size)


def test_stdio():
    agent = Agent("--stdio", listen=False)
    try:
        pipes = Pipes(agent.process)
        link = Link(pipes)
        assert link.run(1, "echo one; cat").out == b"one\n"
        assert link.run(2, "head -c 3000000 /dev/zero").out == bytes(3000000)
        # Detached in the middle of a command, what came meanwhile unread; attached anew.
        pipes.sendall(packet(SPAWN, 9, 9, bytes(1 << 20))[:5000] + bytes((1 << 20) + 64))
        again = Link(pipes, boot=link.boot, offset=link.offset)
        assert again.result == OK and again.run(3, "echo three").out == b"three\n"
        agent.process.stdin.close()
        assert agent.process.wait(10) == 0
    finally:
        agent.close()


TESTS.append(test_stdio)


def make_tree(root):
    long = "long-" * 30
    os.makedirs(f"{root}/a/{long}/{long}")
    for name, data in (("a/file", b"hello"), ("a/empty", b""), (f"a/{long}/{long}/deep", b"d" * 70000),
                       ("a/.hidden", b"h"), ("space and \u00fc", b"u")):
        with open(f"{root}/{name}", "wb") as file:
            file.write(data)
    os.chmod(root + "/a/file", 0o751)
    os.chmod(root + "/a/empty", 0o4755)
    os.utime(root + "/a/file", ns=(1, 1234567890123456789))
    os.symlink("file", root + "/a/link")
    os.symlink("x" * 300, root + "/a/longlink")
    os.link(root + "/a/file", root + "/a/zhard")
    os.mkdir(root + "/a/readonly")
    open(root + "/a/readonly/inside", "w").close()
    os.chmod(root + "/a/readonly", 0o555)
    os.mkfifo(root + "/a/fifo")


def listing(root):
    out = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(folder, name)
            info = os.lstat(path)
            if not os.path.islink(path) and name == "fifo":
                continue
            content = (os.readlink(path) if os.path.islink(path) else
                       open(path, "rb").read() if os.path.isfile(path) else None)
            out[os.path.relpath(path, root)] = (oct(info.st_mode & ~0o6000), content,
                                                info.st_mtime_ns if os.path.isfile(path) else 0)
    return out


@agent_test()
def test_trees(agent):
    link = agent.connect()
    source, target = agent.dir + "/source", agent.dir + "/target/deeper"
    os.mkdir(source)
    make_tree(source)
    link.tree(TREE_GET, 1, source, ["./", "missing", "a/file"])
    end = link.finish(1)
    assert end.result == (0, 0) and end.flags & 4 and (1, "missing") in end.warnings
    assert any("fifo" in text for _, text in end.warnings)
    names = tarfile.open(fileobj=io.BytesIO(bytes(end.out))).getnames()
    assert len(names) == len(set(names)) and "a/file" in [name.removeprefix("./") for name in names]
    link.tree(TREE_PUT, 2, target)
    put = link.finish(2, link.stdin(2, bytes(end.out)))
    assert put.result == (0, 0), (put.text, put.warnings)
    assert listing(source) == listing(target)
    assert os.stat(target + "/a/file").st_ino == os.stat(target + "/a/zhard").st_ino
    # Again over what is there.
    link.tree(TREE_PUT, 3, target)
    assert link.finish(3, link.stdin(3, bytes(end.out))).result == (0, 0) and listing(source) == listing(target)
    link.tree(TREE_GET, 4, source, ["a/*link", "nothing*", "sp*"], flags=1)
    end = link.finish(4)
    names = tarfile.open(fileobj=io.BytesIO(bytes(end.out))).getnames()
    assert names == ["a/link", "a/longlink", "space and \u00fc"] and (1, "nothing*") in end.warnings
    link.tree(FILE_GET, 5, source + "/a/file", limit=5)
    assert link.finish(5).out == b"hello"
    link.tree(FILE_GET, 6, source + "/a/file", limit=4)
    end = link.finish(6)
    assert end.result == (0, 1) and "more than the 4" in end.text
    link.tree(FILE_GET, 7, source + "/a/nothing", limit=4)
    assert "No such file" in link.finish(7).text
    for channel, bad in enumerate(("/etc", "../x", "a/../../x"), 100):
        link.tree(TREE_GET, channel, source, [bad])
        assert link.finish(channel).result == (0, 1)
    subprocess.run(["chmod", "-R", "u+w", agent.dir], check=True)


def tar_of(*members, form=tarfile.PAX_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, kind, extra in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode = kind, 0o6755
            if kind == tarfile.REGTYPE:
                info.size = len(extra)
                tar.addfile(info, io.BytesIO(extra))
            else:
                info.linkname = extra or ""
                tar.addfile(info)
    return out.getvalue()


@agent_test()
def test_evil_trees(agent):
    link = agent.connect()
    outside = agent.dir + "/outside"
    os.mkdir(outside)
    with open(outside + "/secret", "w") as file:
        file.write("s")
    file, sym, hard, folder = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE
    cases = [
        ([("/abs", file, b"x")], 1), ([("../up", file, b"x")], 1), ([("a/../../up", file, b"x")], 1),
        ([("l", sym, outside), ("l/owned", file, b"x")], 1), ([("l", sym, outside), ("l/sub", folder, None)], 1),
        ([("l", sym, outside + "/secret"), ("l", file, b"x")], 0), ([("l", sym, outside), ("l", folder, None),
                                                                  ("l/fine", file, b"x")], 0),
        ([("h", hard, outside + "/secret")], 1), ([("h", hard, "../outside/secret")], 1),
        ([("l", sym, outside), ("h", hard, "l/secret")], 1), ([("dev", tarfile.CHRTYPE, None)], 0),
        ([("fifo", tarfile.FIFOTYPE, None), ("ok", file, b"x")], 0), ([("suid", file, b"x")], 0),
        ([("n" * 300 + "/" + "m" * 200, file, b"x")], 1), ([("d/" + "m" * 200, file, b"x")], 0),
    ]
    channel = 0
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        for members, code in cases:
            channel += 1
            target = f"{agent.dir}/t{channel}"
            link.tree(TREE_PUT, channel, target)
            end = link.finish(channel, link.stdin(channel, tar_of(*members, form=form)))
            assert end.result == (0, code), (members, end.code, end.text, end.warnings)
            assert os.listdir(outside) == ["secret"] and open(outside + "/secret").read() == "s", members
            assert not os.path.exists(agent.dir + "/up") and not os.path.exists("/abs")
            for root, _, files in os.walk(target):
                for name in files:
                    assert os.lstat(os.path.join(root, name)).st_mode & 0o6000 == 0
    good = tar_of(("a", file, b"x" * 5000), ("b", file, b"y"))
    for broken in (b"", good[:100], good[:3000], good[:5632 + 512], b"\1" * 1024, os.urandom(4096),
                   good[:124] + b"99999999999\0" + good[136:]):
        channel += 1
        link.tree(TREE_PUT, channel, f"{agent.dir}/t{channel}")
        end = link.finish(channel, link.stdin(channel, broken))
        assert end.result == (0, 1) and "malformed or cut off" in end.text, (len(broken), end.code, end.text)
    link.tree(TREE_PUT, 999, "/proc/nowhere")
    assert "cannot make the folder /proc/nowhere" in link.finish(999, link.stdin(999, good)).text


def circleci(*words, stdin=b"", env=None, cwd=None):
    done = subprocess.run(RUN + [AGENT, "circleci", *words], input=stdin, capture_output=True, cwd=cwd,
                          env={**os.environ, **(env or {})}, timeout=30)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def check_run(root):
    """circleci tests run: the share reaches the command, whose end is ours."""
    run = lambda *words, stdin=b"d\nb\na\nc\n", **env: circleci("tests", "run", *words, stdin=stdin, cwd=root, env=env)
    assert run("--command=xargs echo run") == (0, "run a b c d\n", "")
    assert run("--command", "cat", CIRCLE_NODE_INDEX="1", CIRCLE_NODE_TOTAL="2") == (0, "b\nd\n", "")
    assert run("--command=cat", stdin=b"b a\nc\td \n")[1] == "a\nb\nc\nd\n"
    assert run("--command=cat", "--index=1", "--total=1")[1] == "a\nb\nc\nd\n"
    timed = ["--command=cat", "--split-by=timings", "--timings-file=timings", "--index=0", "--total=2"]
    for kind in ("file", "filename", "autodetect"):
        assert run(*timed, f"--timings-type={kind}")[1] == "a\n", kind
    assert run("--command=>list xargs echo") == (0, "", "")
    with open(root + "/list") as file:
        assert file.read() == "a b c d\n"
    code, out, err = run("--command=cat", "--verbose", "--index=0", "--total=2")
    assert (code, out) == (0, "a\nc\n") and "INFO starting execution\nDEBUG Received: a\nc\n" in err, err
    assert run("--command=exit 7")[0] == 7 and run("--command=kill -9 $$")[0] == 137
    assert run("--command=no-such-command")[0] == 127
    assert run("--command=true", stdin=b"x" * 70 + b"\n" + b"long-name\n" * 100000)[0] == 0  # it need not read
    nothing = "WARN No test names found in input source. If you were expecting test names, please check your input " \
              "source.\n"
    assert run("--command=exit 7", stdin=b"") == (0, "There were no tests found\n", nothing)
    assert run("--command=exit 7", "--index=3", "--total=4", stdin=b"a\nb") == (0, "There were no tests found\n", "")
    for words, error in (([], 'required flag(s) "command" not set'), (["--command"], "unknown option or missing value"),
                         (["--command=x", "--split-by=luck"], "--split-by must be name, filesize or timings, not luck"),
                         (["--command=x", "--index=2", "--total=2"], "--index counts from 0 and must be below --total"),
                         (["--command=x", "--test-selection=y"], "unknown option or missing value")):
        code, out, err = run(*words)
        assert (code, out) == (2, "") and err.startswith(f"Error: {error}\nusage: circleci tests run "), (words, err)


def test_circleci():
    with tempfile.TemporaryDirectory() as root:
        for name in ("a.go", "b.go", "x/c.go", "x/y/d.go", "x/y/e.txt", "z/.f.go"):
            os.makedirs(os.path.dirname(f"{root}/{name}"), exist_ok=True)
            with open(f"{root}/{name}", "wb") as file:
                file.write(b"s" * {"a.go": 10, "x/c.go": 100}.get(name, 1))
        glob = lambda *patterns: circleci("tests", "glob", *patterns, cwd=root)[1].split()
        assert glob("*.go") == ["a.go", "b.go"]
        assert glob("**/*.go") == ["a.go", "b.go", "x/c.go", "x/y/d.go", "z/.f.go"]
        assert glob("x/**") == ["x/c.go", "x/y/d.go", "x/y/e.txt"]
        assert glob("{a,b}.go", "x/*/?.{go,txt}", "a.go") == ["a.go", "b.go", "x/y/d.go", "x/y/e.txt"]
        assert glob("[!a].go") == ["b.go"] and glob("x/*") == ["x/c.go", "x/y"] and glob("none*") == []
        names = b"d\nb\na\nc\ne\n"
        split = lambda *more, **kind: circleci("tests", "split", *more, stdin=kind.get("stdin", names), cwd=root,
                                               env=kind.get("env"))
        assert split("--index=0", "--total=2")[1].split() == ["a", "c", "e"]
        assert split(env={"CIRCLE_NODE_INDEX": "1", "CIRCLE_NODE_TOTAL": "2"})[1].split() == ["b", "d"]
        assert split("--total=1", stdin=b"b a c")[1].split() == ["a", "b", "c"]
        files = b"a.go\nb.go\nx/c.go\n"
        assert split("--split-by=filesize", "--index=0", "--total=2", stdin=files)[1].split() == ["x/c.go"]
        timings = {"tests": [{"file": {"d": "./d"}.get(name, name), "classname": f"C{name}", "name": f"test {name}",
                              "run_time": seconds} for name, seconds in (("a", 5.5), ("b", 1), ("c", 1), ("d", 3))]}
        with open(root + "/timings", "w") as file:
            json.dump(timings, file, indent=1)
        timed = ["--split-by=timings", "--timings-file=timings", "--total=2"]
        code, out, err = split(*timed, "--index=0")
        assert out.split() == ["a", "b"] and err == 'Autodetected filename timings.\nNo timing found for "e"\n', (out, err)
        both = [split(*timed, "--time-default=1s", f"--index={i}")[1].split() for i in (0, 1)]
        assert both == [["a"], ["b", "c", "d", "e"]], both
        absolute = "".join(f"{root}/{name}\n" for name in "abcd").encode()
        assert split(*timed, stdin=absolute)[1].split() == [f"{root}/a"]
        for kind, lines in (("classname", b"Ca\nCb\nCd\n"), ("testname", b"test a\ntest b\ntest d\n")):
            for more in ([], [f"--timings-type={kind}"]):
                code, out, err = split(*timed, *more, "--index=0", stdin=lines)
                assert (code, out) == (0, lines.decode().split("\n")[0] + "\n"), (kind, more, out, err)
                assert err == ("" if more else f"Autodetected {kind} timings.\n"), (kind, more, err)
        falls_back = "Error autodetecting timing type, falling back to weighting by name. " \
                     "Autodetect no matching filename or classname.\n"
        for more in ([], ["--timings-file=/no/such"], ["--timings-file=a.go"]):
            assert split("--split-by=timings", "--total=2", *more) == (0, "a\nc\ne\n", falls_back), more
        assert split(*timed, stdin=b"x\ny\n")[1:] == ("x\n", falls_back)
        assert split("--split-by=timings", "--total=2", "--timings-type=filename")[2] == \
            "Requested historical based timing, but they are not present.  Falling back to name based sorting\n"
        data = f"{root}/data/circle-test-results"
        os.makedirs(data)
        shutil.copy(root + "/timings", data + "/results.json")
        assert split("--split-by=timings", "--total=2", env={"CIRCLE_INTERNAL_TASK_DATA": root + "/data"})[1] == "a\nb\n"
        assert "3 of 5" in split("--show-counts", "--total=2")[2]
        for words, error in ((["--index=2", "--total=2"], "--index counts from 0 and must be below --total"),
                             (["--split-by=luck"], "--split-by must be name, filesize or timings, not luck"),
                             (["--index=-1"], "--index must be a number: -1"),
                             (["--total=0"], "--total must be a number above 0: 0"),
                             (["--timings-type=file"],
                              "--timings-type must be autodetect, filename, classname or testname, not file"),
                             (["--time-default=soon"], "--time-default must be a duration such as 10s: soon"),
                             (["--command=x"], "unknown option or missing value"), (["a", "b"], "more than one file: b")):
            code, out, err = split(*words)
            assert (code, out) == (2, "") and err.startswith(f"Error: {error}\nusage: circleci tests split "), (words, err)
        assert split("/no/such")[::2] == \
            (1, "Error: cannot read the list of tests /no/such: No such file or directory\n")
        for words in (["split", "--help"], ["run", "-h"], ["glob", "--help"], [], ["--help"], ["help"]):
            code, out, err = circleci("tests", *words)
            assert code == 0 and "tests" in out and err == "", (words, out, err)
        assert circleci("tests", "glob", "--quiet", "*")[0] == 2 and circleci("tests", "glob")[0] == 2
        assert circleci("tests", "glob", "--", "*.go", cwd=root)[1] == "a.go\nb.go\n"
        check_run(root)
    subst = lambda text, **env: circleci("env", "subst", stdin=text.encode(), env=env)[1]
    assert subst("$A ${A} ${B:-d} ${E:-e}${E-e} ${A:+s} $$A $ 5$ ${#A}\n", A="1 2", E="") == "1 2 1 2 d e s $A $ 5$ 3\n"
    assert circleci("env", "subst", "hi $A", env={"A": "x"})[:2] == (0, "hi x\n")
    assert circleci("env", "subst", "hi ${A")[0] == 1
    code, out, err = circleci("tests", "walk")
    assert code == 2 and "tests split" in err and 'unknown command "circleci tests walk"' in err
    env = dict(os.environ)
    env.pop("TENON_HALT_FILE", None)
    assert subprocess.run(RUN + [AGENT, "circleci", "step", "halt"], env=env, stderr=subprocess.DEVNULL).returncode == 1
    with tempfile.TemporaryDirectory() as root:
        done = subprocess.run(RUN + [AGENT, "serve", "--listen", root + "/" + "p" * 200], capture_output=True)
        assert done.returncode == 2 and b"choose a shorter one" in done.stderr
    assert subprocess.run(RUN + [AGENT, "serve"], capture_output=True).returncode == 2


TESTS.append(test_circleci)


def main():
    if not AGENT or not os.access(AGENT, os.X_OK):
        print(f"skipped: no agent to test at {AGENT!r} (argument or TENON_AGENT)", file=sys.stderr)
        return 77
    signal.alarm(DEADLINE)
    only = sys.argv[2:]
    failed = 0
    for test in TESTS:
        if only and test.__name__ not in only:
            continue
        begin = time.monotonic()
        try:
            test()
            verdict = "ok"
        except Exception:
            traceback.print_exc()
            verdict = "FAILED"
            failed += 1
        print(f"{verdict} {test.__name__} {time.monotonic() - begin:.2f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
