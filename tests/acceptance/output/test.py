# deadline: 300
"""What a job puts out: exact bytes in the log whatever they are, secrets covered in every form, large output in bounded
memory of every process of ours, the limit of a log with its exact figure, and nothing on a terminal but text."""

import base64
import hashlib
import json
import os
import pty
import re
import signal
import subprocess
import threading
import urllib.parse

import procs
import tenon
from tenon import check, check_equal, check_in

LONG = bool(os.environ.get("TENON_TEST_OUTPUT_LONG"))
LINE = (100 if LONG else 20) * 1000 * 1000  # bytes of the one long line
LINES = 10_000_000 if LONG else 400_000
BULK = (750 if LONG else 10) * 1000 * 1000
MEMORY = 64 * 1024  # KiB that each process of ours may ever have
LIMIT = 300_000

SECRET = "hunter22-s3cret/+?"
KEY = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nBKcwggSjAgEAAoIBAQC7x0q9\"'\\\n-----END KEY-----"
SHORT = "abc"

HOSTILE = (b"\x1b]0;owned\x07title \x1b]52;c;b3duZWQ=\x07clip \x1b[2J\x1b[H\x1b[31mred\x1b[0m \x1b[>4;2mkeys "
           b"\xc2\x9b31m\x1bP+q\x1b\\dcs\r\n")

EMIT = r'''
import os, sys
out = sys.stdout.buffer
what = sys.argv[1]
if what == "bytes":
    out.write(bytes(range(256)) * 4 + b"\n\x00\x00nul\r\ncrlf\r\n")
    for percent in range(0, 101, 10):
        out.write(b"%3d%%\r" % percent)
        out.flush()
    out.write(b"\nlast line without an end \xff\xfe\xe4")
elif what == "hostile":
    out.write(HOSTILE)
elif what == "line":
    for _ in range(SIZE // 100000):
        out.write(b"0123456789" * 10000)
    out.write(b"\n")
elif what == "lines":
    for begin in range(0, COUNT, 10000):
        out.write(b"".join(b"line %09d\n" % i for i in range(begin, begin + 10000)))
elif what == "secrets":
    for text in (os.environ["SECRET"], os.environ["KEY"]):
        for byte in text.encode():
            out.write(bytes([byte]))
            out.flush()
        out.write(b"\n")
    out.write(f"short {os.environ['SHORT']} plain text stays\n".encode())
elif what == "limited":
    for begin in range(0, 6000):
        out.write(b"".join(b"line %09d\n" % i for i in range(begin * 100, begin * 100 + 100)))
        out.flush()
'''

JOB = """
      - checkout
      - run: {name: bytes, command: python3 emit.py bytes}
      - run: {name: hostile, command: python3 emit.py hostile}
      - run: {name: secrets, command: "cat forms.txt; python3 emit.py secrets; export -p | grep -e KEY -e SECRET; printf '%q\\n' \\"$SECRET\\" \\"$KEY\\"; printenv SECRET KEY | base64"}
      - run: {name: "named hunter22-s3cret/+? too", command: "true"}
      - run: {name: folder, working_directory: "/nonexistent/hunter22-s3cret/+?", command: "true", when: always}
"""
BIG = """
      - checkout
      - run: {name: line, command: python3 emit.py line}
      - run: {name: lines, command: python3 emit.py lines}
      - run: {name: bulk, command: "head -c BULK /dev/zero | tr '\\\\0' z"}
"""
LIMITED = """
      - checkout
      - run: {name: limited, command: python3 emit.py limited}
      - run: {name: edge, command: "head -c 299993 /dev/zero | tr '\\\\0' x; printf hunter22-s3cret/+?"}
"""
IMAGE = "docker: [{image: \"cimg/base:2025.05-20.04\"}]"
CONFIG = "version: 2.1\njobs:\n" + "".join(
    f"  {name}-{where}:\n    {environment}\n    steps:{steps}"
    for name, steps in (("small", JOB), ("big", BIG.replace("BULK", str(BULK))), ("limited", LIMITED))
    for where, environment in (("host", "machine: true"), ("docker", IMAGE))) + "workflows:\n" + "".join(
    f"  {name}-{where}: {{jobs: [{name}-{where}{': {context: [secrets]}' if name != 'big' else ''}]}}\n"
    for name in ("small", "big", "limited") for where in ("host", "docker"))


def encoded():
    """A text of the secrets in their forms."""
    text = ""
    for value in (SECRET, KEY):
        raw = value.encode()
        quoted = urllib.parse.quote(value, safe="")
        for before in (b"", b"x", b"xy"):
            code = base64.b64encode(before + raw + b"\n").decode()
            text += f"b64 {code}\n{base64.urlsafe_b64encode(before + raw).decode()}\n"
            text += base64.encodebytes(before + raw * 3).decode()
            text += "\n".join(code[i:i + 64] for i in range(0, len(code), 64)) + "\n"
        text += f"raw <{value}> {quoted} {lower(quoted)} {urllib.parse.quote_plus(value)} {json.dumps(value)}\n"
    return text


def make_project():
    program = EMIT.replace("HOSTILE", repr(HOSTILE)).replace("SIZE", str(LINE)).replace("COUNT", str(LINES))
    folder = tenon.project(config=CONFIG, files={"emit.py": program, "forms.txt": encoded()})
    escaped = KEY.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    contexts = tenon.write(os.path.join(os.path.dirname(folder), "secrets.env"),
                           f'SECRET={SECRET}\nKEY="{escaped}"\nSHORT={SHORT}\n')
    settings = tenon.write(os.path.join(os.path.dirname(folder), "tenon.yaml"), f"store: {{log_limit: {LIMIT}}}\n")
    return folder, contexts, settings


def lower(text):
    """The same percent-encoding with small hexadecimal digits."""
    return re.sub("%..", lambda code: code[0].lower(), text)


def read_bytes(path):
    with open(path, "rb") as file:
        return file.read()


def check_exact(result, job):
    """Every byte of a program's output is in the log, and --json shows it as text."""
    want = bytes(range(256)) * 4 + b"\n\x00\x00nul\r\ncrlf\r\n" + b"".join(b"%3d%%\r" % p for p in range(0, 101, 10))
    want += b"\nlast line without an end \xff\xfe\xe4"
    check_equal(read_bytes(result.steps(job)["bytes"]["log"]), want, f"{job}: the log of all bytes")
    check_equal(read_bytes(result.steps(job)["hostile"]["log"]), HOSTILE, f"{job}: the log of escape sequences")


def check_secrets(result, job):
    """No part of four bytes of a secret, or of its encoded forms, is left anywhere."""
    log = result.log(job, "secrets")
    for line in [SECRET, *KEY.split("\n")]:
        for form in (line, urllib.parse.quote(line, safe=""), lower(urllib.parse.quote(line, safe=""))):
            check(form not in log, f"{job}: {form!r} is in the log:\n{log}")
        for before in (b"", b"x", b"xy"):
            code = base64.b64encode(before + line.encode()).decode().rstrip("=")[len(before) + 1:-1]
            check(code[:8] not in log and code.replace("+", "-").replace("/", "_")[:8] not in log,
                  f"{job}: base64 {code!r} is in the log:\n{log}")
    check_in("short abc plain text stays", log, "what is no secret")
    check_in("raw <****> **** **** **** \"****\"\nb64 ", log, f"{job}: what is said around secrets")
    everything = json.dumps(result.events)
    check(SECRET not in everything and "hunter22" not in everything, f"{job}: the secret is in what was printed")
    check_in("named **** too", [step for step in result.steps(job)], "the step's name")
    names = os.listdir(os.path.dirname(result.steps(job)["secrets"]["log"]))
    check(not any("hunter22" in name for name in names), f"{job}: the secret is in a file's name: {names}")
    check_in("****", result.steps(job)["folder"].get("reason", ""), f"{job}: the reason of a folder that is not there")


class Memory(threading.Thread):
    """Notes the largest resident size (VmHWM, KiB) of each program that a tenon starts."""

    def __init__(self, running):
        super().__init__(daemon=True)
        self.running, self.most, self.over = running, {}, threading.Event()

    def run(self):
        while not self.over.wait(0.1):
            for pid in [self.running.child.pid, *self.running.started_processes()]:
                name = procs.program(pid)
                for line in procs.read(pid, "status").splitlines():
                    if line.startswith("VmHWM:") and name.startswith("tenon"):
                        self.most[name] = max(self.most.get(name, 0), int(line.split()[1]))


def check_big(folder, where, docker):
    """Much output: exact bytes, shown exactly, in bounded memory."""
    with tenon.Running(["run", "--workflow", f"big-{where}", "--json"], folder, docker) as running:
        memory = Memory(running)
        memory.start()
        result = running.wait(400 if LONG else 60).expect(0)
        memory.over.set()
        memory.join()
    job = f"big-{where}"
    shown = {"line": hashlib.sha256(), "lines": hashlib.sha256(), "bulk": hashlib.sha256()}
    for event in result.of_type("output"):
        if event["name"] in shown:
            shown[event["name"]].update(event["text"].encode())
    want = {"line": hashlib.sha256(b"0123456789" * (LINE // 10) + b"\n"), "lines": hashlib.sha256()}
    for begin in range(0, LINES, 10000):
        want["lines"].update(b"".join(b"line %09d\n" % i for i in range(begin, begin + 10000)))
    want["bulk"] = hashlib.sha256()
    for _ in range(BULK // 1_000_000):
        want["bulk"].update(b"z" * 1_000_000)
    for step in ("line", "lines", "bulk"):
        with open(result.steps(job)[step]["log"], "rb") as file:
            kept = hashlib.file_digest(file, "sha256")
        check_equal(kept.hexdigest(), want[step].hexdigest(), f"{job}: the log of {step}")
        check_equal(shown[step].hexdigest(), want[step].hexdigest(), f"{job}: what was shown of {step}")
    print(f"{job}: {result.seconds:.1f} s, KiB: {memory.most}", flush=True)
    for name, most in memory.most.items():
        check(most < MEMORY * (6 if tenon.SANITIZED else 1), f"{job}: {name} had {most} KiB")


def check_limited(folder, where, contexts, settings, docker, victim=None):
    """Only the first bytes are kept; how much was dropped is said exactly, also when a process of ours dies."""
    arguments = ["run", "--workflow", f"limited-{where}", "--json", "--context", f"secrets={contexts}", "--settings", settings]
    with tenon.Running(arguments, folder, docker) as running:
        if victim:
            running.wait_output("cut here")
            procs.kill(running.find(victim), signal.SIGKILL)
        result = running.wait(60).expect(0)
    job = f"limited-{where}"
    full = b"".join(b"line %09d\n" % i for i in range(600_000))
    dropped = len(full) - LIMIT
    mark = (f"\n[tenon: the output of this step is cut here, after {LIMIT} bytes: store.log_limit]\n"
            f"[tenon: {dropped} bytes of output were dropped]\n").encode()
    log = read_bytes(result.steps(job)["limited"]["log"])
    check_equal(log[LIMIT:], mark, f"{job}: the mark")
    check_equal(log[:LIMIT], full[:LIMIT], f"{job}: what was kept")
    check_equal(result.steps(job)["limited"].get("dropped"), dropped, f"{job}: dropped in the summary")
    ended = [event for event in result.of_type("step") if event["name"] == "limited" and event["state"] == "succeeded"]
    check_equal([event.get("dropped") for event in ended], [dropped], f"{job}: dropped in the step's event")
    edge = read_bytes(result.steps(job)["edge"]["log"])
    check_equal(edge[299_993:], b"****" + mark.replace(str(dropped).encode(), str(len(SECRET) - 7).encode()),
                f"{job}: a secret at the cut")


def on_terminal(folder, contexts, docker):
    """What `tenon run` writes to a terminal."""
    master, slave = pty.openpty()
    env = tenon.command_environment(docker, TERM="xterm")
    child = subprocess.Popen([tenon.TENON, "run", "--workflow", "small-host", "--context", f"secrets={contexts}"], cwd=folder, env=env,
                             stdin=subprocess.DEVNULL, stdout=slave, stderr=slave)
    os.close(slave)
    seen = b""
    try:
        while part := os.read(master, 65536):
            seen += part
    except OSError:
        pass  # the other end is closed
    os.close(master)
    check_equal(child.wait(20), 1, "exit status on a terminal")
    return seen


def check_harmless(seen, where):
    """Text and colours of the hostile line, nothing else."""
    check_in(b"title clip \x1b[31mred\x1b[0m keys ", seen, f"{where}: the line")
    for part in (b"]0;", b"]52;", b"\x1b[2J", b"\x1b[H", b"\x1b[>", b"\xc2\x9b", b"\x1bP", b"\x00", b"\x9b", b"owned"):
        check(part not in seen, f"{where}: {part!r} reached the terminal: {seen!r}")
    check_in(b"100%", seen, f"{where}: the end of a progress bar")
    check(b" 50%" not in seen and b"hunter22" not in seen, f"{where}: {seen!r}")


def check_plain(folder, contexts):
    with tenon.Running(["run", "--workflow", "small-host", "--context", f"secrets={contexts}"], folder) as running:
        result = running.wait(60).expect(1)
    seen = result.out.encode()
    check_harmless(seen, "plain")
    check_in(b"[small-host] crlf\n", seen, "a line that ended with CRLF")


def check_slow_reader(folder):
    """Nobody reads what is printed until the job is over: it is not held up, and all is there afterwards."""
    env = tenon.command_environment()
    child = subprocess.Popen([tenon.TENON, "run", "--workflow", "big-host", "--json"], cwd=folder, env=env,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    size = LINES * len("line 000000000\n")

    def complete():
        for path in tenon.files_below(env["XDG_STATE_HOME"]):
            if path.endswith("-lines.log"):
                return os.path.getsize(os.path.join(env["XDG_STATE_HOME"], path)) == size
        return False

    check(procs.wait_for(complete, 60 * tenon.SLOW), "the job stands still because nobody reads")
    out, _ = child.communicate(timeout=120)
    texts = [event["text"] for event in map(json.loads, out.splitlines()) if event.get("name") == "lines" and "text" in event]
    check_equal(len("".join(texts)), size, "what a slow reader got")
    check_equal(child.returncode, 0, "exit status with a slow reader")


def main():
    folder, contexts, settings = make_project()
    docker = os.environ.get("TENON_TEST_DOCKER_HOST")
    places = [("host", None)] + ([("docker", docker)] if docker else [])
    for where, engine in places:
        result = tenon.run(["run", "--workflow", f"small-{where}", "--json", "--context", f"secrets={contexts}"], folder, engine).expect(1)
        check_exact(result, f"small-{where}")
        check_secrets(result, f"small-{where}")
        check_big(folder, where, engine)
    check_limited(folder, "host", contexts, settings, None, "tenon-output")
    check_limited(folder, "host", contexts, settings, None, "tenon-executor-machine")
    if docker:
        check_limited(folder, "docker", contexts, settings, docker)
    check_plain(folder, contexts)
    check_harmless(on_terminal(folder, contexts, None), "terminal")
    check_slow_reader(folder)
    tenon.check_nothing_left(docker)


main()
