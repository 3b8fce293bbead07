#!/usr/bin/env python3
# deadline: 180
"""tenond and tenon-bus with stand-in processes (kernel_worker.c) in place of the services: supervision, the bus's checks,
programs, the orderly stop, and that nothing is left."""

import glob
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import procs  # noqa: E402

BUILD = os.environ.get("TENON_BUILD", os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../build"))
KERNEL, BUS, SCHEDULER, COMPILER, OUTPUT, CLIENT, EXECUTOR = (role << 8 for role in range(1, 8))
WORKERS = ["tenon-scheduler", "tenon-compiler", "tenon-output", "tenon-executor-machine"]

PROGRAM = r"""#!/bin/sh
# A program that an executor starts: a daemon of its own session twice forked, a child, and it itself.
(setsid sh -c '(setsid sleep 1001 &) ; exec sleep 1002' &)
sleep 1003 &
case "$1" in
exit) exit 7 ;;
stubborn) trap '' TERM; while :; do sleep 1004; done ;;
bomb) exec sh -c 'b() { b | b & }; b; exec sleep 1005' ;;
esac
wait
"""


class Control:
    """The control socket of one stand-in."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        assert procs.wait_for(lambda: self._connect(path), 10, 0.005), f"no control socket {path}"
        self.file = self.socket.makefile("r")
        self.lines = []

    def _connect(self, path):
        try:
            self.socket.connect(path)
            return True
        except OSError:
            return False

    def say(self, line):
        self.socket.sendall((line + "\n").encode())

    def send(self, kind, destination, body="", task=0, attempt=0):
        self.say(f"send {kind} {destination} {task} {attempt} {body if isinstance(body, str) else json.dumps(body)}")

    def wait(self, match, seconds=15):
        """The next line that matches; others are kept."""
        for line in self.lines:
            if match(line):
                self.lines.remove(line)
                return line
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.socket.settimeout(max(0.001, end - time.monotonic()))
            try:
                text = self.file.readline()
            except (TimeoutError, OSError):
                break
            if not text:
                break
            line = json.loads(text)
            if match(line):
                return line
            self.lines.append(line)
        raise AssertionError(f"did not come; heard: {self.lines[-8:]}")

    def ask(self, kind, destination, body="", task=0, attempt=0, seconds=15):
        self.send(kind, destination, body, task, attempt)
        return self.wait(lambda line: line.get("how") == "reply", seconds)

    def close(self):
        self.file.close()
        self.socket.close()


class Installation:
    """A tenond with stand-ins, its folders, and its client."""

    def __init__(self, private=True, behave=None, settings=None):
        self.folder = tempfile.mkdtemp(prefix="tnk")
        self.state, self.run, self.root = (os.path.join(self.folder, name) for name in ("state", "run", "root"))
        self.private = private
        os.makedirs(self.state)
        self.settings = os.path.join(self.folder, "settings") if settings is not None else None
        for role in ("executor-machine", "output", "scheduler", "tenond") if self.settings else ():
            os.makedirs(self.settings, exist_ok=True)
            with open(os.path.join(self.settings, role + ".json"), "w", encoding="utf-8") as file:
                file.write(settings)
        self._make_root()
        for name, text in (behave or {}).items():
            os.makedirs(self.own(name), mode=0o700)
            with open(os.path.join(self.own(name), "behave." + name), "w", encoding="utf-8") as file:
                file.write(text)
        self.start()

    def _make_root(self):
        worker = os.path.join(BUILD, "tests/integration/kernel_worker")
        for place in ("core/scheduler/tenon-scheduler", "core/compiler/tenon-compiler", "core/output/tenon-output",
                      "executors/machine/tenon-executor-machine"):
            path = os.path.join(self.root, place)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.symlink(os.path.realpath(worker), path)
        os.makedirs(os.path.join(self.root, "core/kernel"))
        shutil.copy(os.path.join(BUILD, "core/kernel/tenon-bus"), os.path.join(self.root, "core/kernel"))
        program = os.path.join(self.root, "executors/machine/program")
        with open(program, "w", encoding="utf-8") as file:
            file.write(PROGRAM)
        os.chmod(program, 0o755)
        with open(os.path.join(self.root, "executors/machine/manifest.json"), "w", encoding="utf-8") as file:
            json.dump({"name": "machine", "program": "tenon-executor-machine", "kinds": ["machine"],
                       "programs": {"agent": {"program": "program", "settings": "machine"}}}, file)

    def start(self):
        ready_out, ready_in = os.pipe()
        life_out, self.life = os.pipe()
        self.log = os.path.join(self.state, "tenon.log")
        command = [os.path.join(BUILD, "core/kernel/tenond"), "--state", self.state, "--store", self.state, "--run",
                   self.run, "--root", self.root, "--ready-fd", str(ready_in), "--life-fd", str(life_out),
                   "--installation", "test"] + (["--private"] if self.private else [])
        command += ["--settings", self.settings] if self.settings else []
        begin = time.monotonic()
        with open(self.log, "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(command, pass_fds=(ready_in, life_out), stderr=log)
        os.close(ready_in)
        os.close(life_out)
        with os.fdopen(ready_out) as file:
            self.ready = json.loads(file.readline() or "{}")
        self.start_ms = (time.monotonic() - begin) * 1000

    def client(self, raw=False, life=None):
        """A stand-in as the client of the bus."""
        environment = dict(os.environ, TENON_ADDRESS=str(self.ready["address"]),
                           TENON_LIFE=str(life or self.ready["life"]), TENON_BUS=self.ready["bus"],
                           TENON_EVENTS=self.ready["events"], TENON_DATA=self.ready["data"], TENON_RUN=self.run,
                           TENON_STATE=self.own("client"), TENON_STORE=self.state, TENON_INSTALLATION="test")
        if raw:
            environment["KERNEL_WORKER_RAW"] = "1"
        with open(self.log, "a", encoding="utf-8") as log:
            self.client_process = subprocess.Popen(["client"], stderr=log, env=environment,
                                                   executable=os.path.join(BUILD, "tests/integration/kernel_worker"))
        return self.control("client")

    def control(self, name):
        return Control(os.path.join(self.own(name), "ctl", name))

    def own(self, name):
        """The state folder of a stand-in: what the test writes there it can read, and the other way round."""
        return os.path.join(self.state, name.split("-")[-1])

    def end_client(self):
        self.client_process.kill()
        self.client_process.wait()

    def worker(self, name):
        """Process id of the only living child of that name, or None."""
        found = [pid for pid in procs.descendants(self.process.pid) if procs.program(pid) == name]
        return found[0] if len(found) == 1 else None

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def wait_log(self, text, seconds=15):
        assert procs.wait_for(lambda: text in self.log_text(), seconds, 0.01), f"not in the log: {text}"

    def stop(self, status=0, seconds=30):
        """Ends it as the death of its starter does, and looks whether anything is left."""
        if self.life is not None:
            os.close(self.life)
            self.life = None
        assert self.process.wait(seconds) == status, f"status {self.process.returncode}, expected {status}"
        assert not procs.marked(self.folder), [procs.command(pid) for pid in procs.marked(self.folder)]
        if self.private:
            assert not os.path.exists(self.run), os.listdir(self.run)
            groups = glob.glob(f"/sys/fs/cgroup/**/tenon-run-*-{self.process.pid}", recursive=True)
            assert not groups, f"control groups left: {groups}"
        shutil.rmtree(self.folder)


def pong(control, destination=SCHEDULER, seconds=20):
    control.say(f"ping 1 1 {destination}")
    return control.wait(lambda line: "ping_us" in line, seconds)["ping_us"]


def header(kind, source, destination, sequence, body=b""):
    return struct.pack("<4sHHHHIQQQII", b"TNN1", 1, kind, source, destination, 0, sequence, 0, 0, 0, len(body)) + body


def test_start_and_status():
    tenon = Installation()
    assert tenon.ready["address"] == CLIENT and tenon.ready["run"] == tenon.run and "error" not in tenon.ready
    client = tenon.client()
    status = client.ask("STATUS", KERNEL)["body"]["processes"]
    assert [row["name"] for row in status] == ["bus", "scheduler", "compiler", "output", "executor-machine"]
    assert all(row["state"] == "ready" for row in status if row["name"] != "executor-machine"), status
    assert "seccomp" in status[0]["confinement"] and "Landlock" in status[0]["confinement"], status[0]
    latency = min(pong(client) for _ in range(200))
    client.say(f"ping 20000 200 {SCHEDULER}")
    total = client.wait(lambda line: "ping_us" in line)["ping_us"]
    print(f"start to ready {tenon.start_ms:.1f} ms, round trip {latency:.0f} us at best, "
          f"{20000 / total * 1e6:.0f} requests a second")
    tenon.end_client()
    tenon.stop()


def test_restart_of_each():
    tenon = Installation()
    client = tenon.client()
    client.say("events")
    pong(client)
    for name in WORKERS + ["tenon-bus"]:
        pid = tenon.worker(name)
        assert pid, name
        os.kill(pid, signal.SIGKILL)
        assert procs.wait_for(lambda: tenon.worker(name) not in (None, pid), 10, 0.002), name
        if name == "tenon-scheduler":
            client.wait(lambda line: line.get("kind") == "EVENT" and line["body"].get("state") == "down")
            up = client.wait(lambda line: line.get("kind") == "PEER_STATE" and line["body"]["state"] == "up" and
                             line["body"]["name"] == "scheduler" and line["body"]["life"] > tenon.ready["life"] + 5)
            assert up["source"] == BUS, up
        begin = time.monotonic()
        pong(client)
        print(f"{name} killed; the next answer after {(time.monotonic() - begin) * 1000:.0f} ms")
    # Processes that live on talk to each other through the new bus, too.
    scheduler = tenon.control("tenon-scheduler")
    scheduler.send("LEASE", EXECUTOR, {"x": 1}, 5, 1)
    scheduler.wait(lambda line: line.get("kind") == "ACK" and line["source"] == EXECUTOR)
    # The compiler, which may open no second socket, once more with the bus.
    restarts = {"bus": 1, "scheduler": 1, "compiler": 2, "output": 1, "executor-machine": 1}
    assert procs.wait_for(lambda: {row["name"]: row["restarts"] for row in
                                   client.ask("STATUS", KERNEL)["body"]["processes"]} == restarts, 10, 0.05), \
        client.ask("STATUS", KERNEL)
    scheduler.close()
    tenon.end_client()
    tenon.stop()


def test_no_request_is_lost():
    """The bus and the receiver are killed again and again under load: every request is answered in the end."""
    tenon = Installation()
    client = tenon.client()
    pong(client)
    client.say(f"ping 100000 100 {SCHEDULER}")
    for name in ("tenon-bus", "tenon-scheduler", "tenon-bus", "tenon-bus"):
        pid = tenon.worker(name)
        os.kill(pid, signal.SIGKILL)
        assert procs.wait_for(lambda: tenon.worker(name) not in (None, pid), 10, 0.01), name
    took = client.wait(lambda line: "ping_us" in line, 60)["ping_us"]
    print(f"100,000 requests over three lives of the bus and two of the receiver in {took / 1e6:.1f} s")
    tenon.end_client()
    tenon.stop()


def test_stopped_process_stops_in_time():
    """SIGTERM reaches a process that SIGSTOP holds, and the end is orderly."""
    tenon = Installation()
    os.kill(tenon.worker("tenon-output"), signal.SIGSTOP)
    tenon.process.send_signal(signal.SIGTERM)
    tenon.stop()


def test_not_ready_in_time():
    """A process that says nothing is killed after its deadline; a hanging one, too; the rest waits for it."""
    tenon = Installation(behave={"tenon-executor-machine": "mute"})
    client = tenon.client()
    os.kill(tenon.worker("tenon-compiler"), signal.SIGSTOP)
    scale = 4 if "asan" in BUILD else 1
    tenon.wait_log("is not ready in time: killed", 20 * scale)
    tenon.wait_log("gives no sign of life: killed", 25 * scale)
    pong(client, SCHEDULER)
    tenon.end_client()
    tenon.stop()


def test_backoff_and_failed():
    """A core process that says it is hopeless ends a private run with 3; one that crashes comes back, slower each time."""
    tenon = Installation(behave={"tenon-scheduler": "exit 78"})
    assert "scheduler: exit status 78" == tenon.ready.get("error"), tenon.ready
    tenon.stop(3)

    tenon = Installation(behave={"tenon-executor-machine": "exit 1"})
    assert procs.wait_for(lambda: tenon.log_text().count("executor-machine (pid") >= 4, 15, 0.01)
    client = tenon.client()
    row = [row for row in client.ask("STATUS", KERNEL)["body"]["processes"] if row["name"] == "executor-machine"][0]
    assert row["reason"] == "exit status 1" and row["restarts"] >= 3, row
    tenon.end_client()
    tenon.stop()

    tenon = Installation(behave={"tenon-executor-machine": "exit 78"})
    client = tenon.client()
    pong(client)
    client.wait(lambda line: line.get("kind") == "PEER_STATE" and line["body"]["state"] == "failed" and
                line["body"]["reason"] == "exit status 78")
    assert tenon.log_text().count("executor-machine is given up") == 1
    tenon.end_client()
    tenon.stop()


def test_program_missing():
    """A program that is not there is said by name at once, not tried again and again."""
    tenon = Installation.__new__(Installation)
    real = Installation._make_root

    def without_output(self):
        real(self)
        os.unlink(os.path.join(self.root, "core/output/tenon-output"))

    Installation._make_root = without_output
    try:
        tenon.__init__()
    finally:
        Installation._make_root = real
    assert "tenon-output" in tenon.ready["error"] and "No such file" in tenon.ready["error"], tenon.ready
    tenon.stop(3)


def test_forgery():
    """The bus believes the socket, not the header: another's name, another life, a forbidden kind, no message at all."""
    tenon = Installation()
    life = tenon.ready["life"]
    client = tenon.client(raw=True)
    kinds = {"status": 20, "lease": 52, "get": 43, "compile": 30}
    bad = {
        "says that it comes from scheduler": header(kinds["lease"], SCHEDULER, EXECUTOR, life << 32 | 1, b"{}"),
        f"is of life {life - 1}, this socket's is {life}": header(kinds["get"], CLIENT, SCHEDULER, life - 1 << 32 | 2),
        "LEASE may not be sent by client": header(kinds["lease"], CLIENT, EXECUTOR, life << 32 | 3, b"{}"),
        "COMPILE may not be sent to scheduler": header(kinds["compile"], CLIENT, SCHEDULER, life << 32 | 4, b"{}"),
        "does not begin with TNN1": b"x" * 60,
        "shorter than its header": b"TNN1",
        "says 9 bytes of body": header(kinds["get"], CLIENT, SCHEDULER, life << 32 | 5, b"123456789")[:-1],
    }
    for text, message in bad.items():
        # Sent again until it is said: one line a second of a peer is logged.
        assert procs.wait_for(lambda: client.say("raw " + message.hex()) or text in tenon.log_text(), 10, 0.1), text
    client.say("raw " + header(kinds["status"], CLIENT, KERNEL, life << 32 | 9).hex())
    client.wait(lambda line: line["kind"] == "STATUS_IS")
    executor = tenon.control("tenon-executor-machine")
    executor.send("TASK_STATE", SCHEDULER, {}, 1, 1)
    executor.wait(lambda line: line.get("kind") == "ACK")
    assert not [line for line in executor.lines if line.get("kind") == "LEASE"], executor.lines
    executor.close()
    tenon.end_client()
    tenon.stop()


def test_flood_is_bounded():
    """A peer that does not read: its queue is bounded, and the others go on."""
    tenon = Installation()
    client = tenon.client()
    scheduler = tenon.control("tenon-scheduler")
    os.kill(tenon.worker("tenon-executor-machine"), signal.SIGSTOP)
    for _ in range(20):
        scheduler.say(f"flood 100 60000 {EXECUTOR}")
    tenon.wait_log("executor.0 does not take its messages")
    assert tenon.log_text().count("does not take its messages") == 1
    pong(client)
    with open(f"/proc/{tenon.worker('tenon-bus')}/status", encoding="utf-8") as file:
        size = [int(line.split()[1]) for line in file if line.startswith("VmRSS")][0]
    print(f"tenon-bus holds {size} kB after 120 MB for a peer that does not read")
    assert size < 64000 or "asan" in BUILD, size
    os.kill(tenon.worker("tenon-executor-machine"), signal.SIGCONT)
    scheduler.send("LEASE", EXECUTOR, {}, 1, 1)
    scheduler.wait(lambda line: line.get("kind") == "ACK")
    scheduler.close()
    tenon.end_client()
    tenon.stop()


def test_stop_is_orderly():
    """The end of the life descriptor together with one SIGTERM is one request: nobody is killed."""
    tenon = Installation()
    os.close(tenon.life)
    tenon.life = None
    tenon.process.send_signal(signal.SIGTERM)
    procs.wait_gone(tenon.process.pid, 10)
    text = tenon.log_text()
    assert "stopping" in text and "at once" not in text and "killed" not in text, text
    tenon.stop()


def sleepers(tenon):
    return [pid for pid in procs.marked(tenon.folder) if procs.program(pid) in ("sleep", "sh", "program")]


def start_program(executor, task, *arguments, folder):
    return executor.ask("PROGRAM_START", KERNEL, {
        "program": "agent", "arguments": list(arguments), "folder": folder,
        "environment": [["PATH", os.environ["PATH"]], ["TEST", "old"], ["TEST", folder]],
        "limits": {"pids": 100, "memory_mb": 200, "cpu_milli": 1000}}, task, 1)


def test_programs():
    tenon = Installation()
    executor = tenon.control("tenon-executor-machine")
    started = start_program(executor, 7, "wait", folder=tenon.folder)
    assert started["kind"] == "PROGRAM_STARTED" and not started["body"]["already"], started
    pid = started["body"]["pid"]
    print("enclosure:", started["body"]["enclosure"])
    assert procs.wait_for(lambda: len(sleepers(tenon)) >= 4, 10, 0.01), sleepers(tenon)
    again = start_program(executor, 7, "wait", folder=tenon.folder)
    assert again["body"] == dict(started["body"], already=True), again
    listed = executor.ask("PROGRAM_LIST", KERNEL)
    assert listed["body"] == {"programs": [{"task": "7", "attempt": 1, "pid": pid}], "refused": {}}, listed

    # The executor dies; its program does not.
    os.kill(tenon.worker("tenon-executor-machine"), signal.SIGKILL)
    executor.close()
    assert procs.wait_for(lambda: tenon.worker("tenon-executor-machine"), 10, 0.01)
    executor = tenon.control("tenon-executor-machine")
    assert executor.ask("PROGRAM_LIST", KERNEL)["body"]["programs"][0]["pid"] == pid
    begin = time.monotonic()
    assert executor.ask("PROGRAM_STOP", KERNEL, {"grace_ms": 1000}, 7, 1)["kind"] == "ACK"
    print(f"stopped in {(time.monotonic() - begin) * 1000:.0f} ms")
    assert not sleepers(tenon), [procs.command(pid) for pid in sleepers(tenon)]
    assert executor.ask("PROGRAM_STOP", KERNEL, {"grace_ms": 1000}, 7, 1)["kind"] == "ACK"

    # It ends by itself: what it left is killed before that is told; and it is not run twice.
    start_program(executor, 8, "exit", folder=tenon.folder)
    exited = executor.wait(lambda line: line.get("kind") == "PROGRAM_EXITED")
    assert exited["task"] == 8 and exited["body"] == {"status": 7}, exited
    assert not sleepers(tenon), [procs.command(pid) for pid in sleepers(tenon)]
    assert start_program(executor, 8, "exit", folder=tenon.folder)["body"]["code"] == "conflict"

    # It ignores SIGTERM: killed after the grace.
    start_program(executor, 9, "stubborn", folder=tenon.folder)
    assert procs.wait_for(lambda: [pid for pid in sleepers(tenon) if procs.command(pid) == "sleep 1004"], 10, 0.01)
    begin = time.monotonic()
    assert executor.ask("PROGRAM_STOP", KERNEL, {"grace_ms": 300}, 9, 1)["kind"] == "ACK"
    assert 0.3 <= time.monotonic() - begin < 5
    assert not sleepers(tenon)

    # What cannot be started is refused with the reason.
    refused = executor.ask("PROGRAM_START", KERNEL, {"program": "qemu"}, 10, 1)["body"]
    assert refused["code"] == "not_found", refused
    refused = start_program(executor, 11, folder=tenon.folder + "/missing")["body"]
    assert refused["code"] == "failed" and "/missing" in refused["text"], refused
    executor.close()

    # A stop takes programs along.
    executor = tenon.control("tenon-executor-machine")
    start_program(executor, 12, "stubborn", folder=tenon.folder)
    executor.close()
    tenon.process.send_signal(signal.SIGTERM)
    assert procs.wait_for(lambda: "stopping: SIGTERM" in tenon.log_text(), 5, 0.01)
    tenon.process.send_signal(signal.SIGTERM)
    tenon.stop(seconds=10)


def test_programs_outlive_tenond():
    """Not in a private run: a killed tenond's successor adopts them, and a second one on the same folder is refused."""
    tenon = Installation(private=False)
    executor = tenon.control("tenon-executor-machine")
    pid = start_program(executor, 3, "wait", folder=tenon.folder)["body"]["pid"]
    executor.close()
    second = subprocess.run([os.path.join(BUILD, "core/kernel/tenond"), "--state", tenon.state, "--store", tenon.state,
                             "--run", tenon.run, "--root", tenon.root], stderr=subprocess.PIPE, text=True, check=False)
    assert second.returncode == 3 and "another tenond runs there" in second.stderr, second
    life = tenon.ready["life"]
    workers = [tenon.worker(name) for name in WORKERS]
    tenon.process.kill()
    tenon.process.wait()
    os.close(tenon.life)
    for worker in workers:
        assert procs.wait_gone(worker, 10), "a worker outlived tenond"
    assert procs.alive(pid)
    tenon.start()
    assert tenon.ready["life"] > life
    executor = tenon.control("tenon-executor-machine")
    assert executor.ask("PROGRAM_LIST", KERNEL)["body"]["programs"] == [{"task": "3", "attempt": 1, "pid": pid}]
    assert executor.ask("PROGRAM_STOP", KERNEL, {"grace_ms": 1000}, 3, 1)["kind"] == "ACK"
    assert not procs.alive(pid)
    executor.close()
    for left in sleepers(tenon):  # without a control group, what fled before tenond died went to init
        procs.kill(left)
    tenon.stop()


def enclosures():
    """Those that can be had here."""
    found = []
    for name in ("cgroup", "namespace", "group"):
        tenon = Installation(settings=json.dumps({"machine": {"enclosure": name}}))
        if tenon.ready["programs"].startswith(name):
            found.append(name)
        else:
            print(f"{name}: {tenon.ready['programs']}")
            executor = tenon.control("tenon-executor-machine")
            refused = start_program(executor, 1, "wait", folder=tenon.folder)["body"]
            assert refused["code"] == "invalid", refused
            assert refused["text"].startswith(f"machine.enclosure: {name} cannot be had: "), refused
            executor.close()
        tenon.stop()
    return found


def test_enclosures():
    """Each way of keeping a program together ends all of it: stopped, ended, and as a bomb where forks are limited."""
    for name in enclosures():
        tenon = Installation(settings=json.dumps({"machine": {"enclosure": name}}))
        client = tenon.client()
        assert client.ask("STATUS", KERNEL)["body"]["programs"] == tenon.ready["programs"]
        executor = tenon.control("tenon-executor-machine")
        started = start_program(executor, 1, "stubborn", folder=tenon.folder)["body"]
        assert started["enclosure"] == name, started
        print(name, tenon.ready["programs"], started["limits"])
        assert procs.wait_for(lambda: len(sleepers(tenon)) >= 4, 10, 0.01), sleepers(tenon)
        assert executor.ask("PROGRAM_STOP", KERNEL, {"grace_ms": 0}, 1, 1)["kind"] == "ACK"
        assert not sleepers(tenon), [procs.command(pid) for pid in sleepers(tenon)]
        start_program(executor, 2, "exit", folder=tenon.folder)
        executor.wait(lambda line: line.get("kind") == "PROGRAM_EXITED")
        assert not sleepers(tenon), [procs.command(pid) for pid in sleepers(tenon)]
        if "pids" in started["limits"]:
            start_program(executor, 3, "bomb", folder=tenon.folder)
            tenon.wait_log("fork")  # "Cannot fork", says the shell
            begin = time.monotonic()
            assert executor.ask("PROGRAM_STOP", KERNEL, {"grace_ms": 0}, 3, 1)["kind"] == "ACK"
            print(f"bomb ended in {(time.monotonic() - begin) * 1000:.0f} ms")
        executor.close()
        tenon.end_client()
        tenon.stop()


def test_killed_together():
    """tenond and its program are killed: the next tenond ends what is left, in each enclosure."""
    for name in enclosures():
        tenon = Installation(private=False, settings=json.dumps({"machine": {"enclosure": name}}))
        executor = tenon.control("tenon-executor-machine")
        pid = start_program(executor, 1, "wait", folder=tenon.folder)["body"]["pid"]
        executor.close()
        assert procs.wait_for(lambda: len(sleepers(tenon)) >= 3, 10, 0.01), sleepers(tenon)
        workers = [tenon.worker(worker) for worker in WORKERS]
        tenon.process.send_signal(signal.SIGSTOP)
        os.kill(pid, signal.SIGKILL)
        tenon.process.kill()
        tenon.process.wait()
        os.close(tenon.life)
        for worker in workers:  # or it is spoken to below instead of its successor
            assert procs.wait_gone(worker, 10), "a worker outlived tenond"
        assert procs.wait_gone(pid, 5)
        assert name != "group" or sleepers(tenon), name  # a process id namespace dies with its first process
        tenon.start()
        assert procs.wait_for(lambda: not sleepers(tenon), 5, 0.01), [procs.command(pid) for pid in sleepers(tenon)]
        executor = tenon.control("tenon-executor-machine")
        assert executor.ask("PROGRAM_LIST", KERNEL)["body"] == {"programs": [], "refused": {}}
        assert executor.ask("PROGRAM_STOP", KERNEL, {"grace_ms": 0}, 1, 1)["kind"] == "ACK"
        executor.close()
        tenon.stop()


def test_groups_of_others():
    """A group that looks like that of a dead tenond may belong to a live one that sees other process ids."""
    tenon = Installation(settings=json.dumps({"machine": {"enclosure": "auto"}}))
    own = [folder for folder, _, _ in os.walk("/sys/fs/cgroup")
           if re.fullmatch(f"tenon-run-.*-{tenon.process.pid}", os.path.basename(folder))]
    tenon.stop()
    other = [os.path.join(os.path.dirname(folder), "tenon-run-other-999999999") for folder in own]
    sleeper = subprocess.Popen(["sleep", "100"])
    try:
        for folder in other:
            os.mkdir(folder)
            with open(folder + "/cgroup.procs", "w", encoding="utf-8") as file:
                file.write(str(sleeper.pid))
        Installation(settings=json.dumps({"machine": {"enclosure": "auto"}})).stop()
        assert sleeper.poll() is None, "the process in somebody else's group was killed"
        assert all(map(os.path.isdir, other)), other
    finally:
        sleeper.kill()
        sleeper.wait()
        for folder in filter(os.path.isdir, other):
            os.rmdir(folder)


def test_bad_settings():
    """Settings that tenond cannot read end it at once; a prefix that is not there refuses programs."""
    tenon = Installation(settings="{")
    assert tenon.process.wait(10) == 3 and f"{tenon.settings}/tenond.json" in tenon.log_text(), tenon.log_text()
    os.close(tenon.life)
    shutil.rmtree(tenon.folder)
    tenon = Installation(settings=json.dumps({"machine": {"command_prefix": ["no-such-program"]}}))
    with open(os.path.join(tenon.root, "executors/machine/manifest.json"), encoding="utf-8") as file:
        assert json.load(file)["programs"]["agent"]["settings"] == "machine"
    executor = tenon.control("tenon-executor-machine")
    refused = start_program(executor, 1, "wait", folder=tenon.folder)["body"]
    assert refused["code"] == "invalid", refused
    assert refused["text"].startswith('machine.command_prefix: no program "no-such-program" in the PATH '), refused
    executor.close()
    tenon.stop()


def main(found):
    """Runs the tests of a module, all or those that the command line names."""
    wanted = sys.argv[1:]
    for name, test in sorted(found.items()):
        if name.startswith("test_") and (not wanted or name in wanted):
            print(name, flush=True)
            test()
    return 0


if __name__ == "__main__":
    sys.exit(main(globals()))
