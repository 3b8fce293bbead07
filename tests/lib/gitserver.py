"""Real git servers on loopback: `git daemon`, `git http-backend` behind a small HTTP server that asks for a password, and
Debian's sshd. And a way into them for containers that have no network but their own loopback."""

import base64
import contextlib
import ctypes
import http.server
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import procs
import tenon

CLONE_NEWNET = 0x40000000


def free_port():
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port):
    """Whether somebody does."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Repository:
    """A bare repository with branches, tags and pull requests, below a folder that servers serve."""

    def __init__(self):
        self.base = tempfile.mkdtemp(prefix="git.")
        self.path = os.path.join(self.base, "team", "app.git")
        self.work = os.path.join(self.base, "work")
        os.makedirs(self.work)
        tenon.git(self.work, "init", "--quiet")
        tenon.git(self.work, "config", "uploadpack.allowFilter", "true")
        tenon.git(self.work, "config", "uploadpack.allowAnySHA1InWant", "true")

    def commit(self, message, **files):
        """Commits files and returns the revision."""
        for name, text in files.items():
            tenon.write(os.path.join(self.work, name), text)
        tenon.git(self.work, "add", "--all")
        tenon.git(self.work, "commit", "--quiet", "--allow-empty", "--message", message)
        return self.revision("HEAD")

    def revision(self, name):
        """The full name of a commit."""
        return subprocess.run(["git", "rev-parse", name + "^{commit}"], cwd=self.work, check=True, text=True,
                              stdout=subprocess.PIPE).stdout.strip()

    def git(self, *arguments):
        """Runs git in the working tree."""
        tenon.git(self.work, *arguments)

    def publish(self):
        """Copies all refs to what is served."""
        if not os.path.exists(self.path):
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", self.path], check=True)
            for key in ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant", "http.receivepack"):
                subprocess.run(["git", "config", key, "true"], cwd=self.path, check=True)
        subprocess.run(["git", "push", "--quiet", "--mirror", self.path], cwd=self.work, check=True)


class Server:
    """A program that serves; used with `with`."""

    def __init__(self, argv, port, **options):
        self.port = port
        self.log = tempfile.NamedTemporaryFile(prefix="server.", suffix=".log", delete=False)
        self.child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                      start_new_session=True, **options)
        if not procs.wait_for(lambda: listens(port) or self.child.poll() is not None, 10 * tenon.SLOW) or \
                self.child.poll() is not None:
            self.close()
            tenon.fail(f"{argv[0]} does not listen: {tenon.read(self.log.name)}")

    def close(self):
        """Ends it with what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def git_daemon(repository):
    """Serves git://127.0.0.1:PORT/team/app.git"""
    port = free_port()
    server = Server(["git", "daemon", "--reuseaddr", f"--base-path={repository.base}", "--export-all",
                     "--listen=127.0.0.1", f"--port={port}"], port)
    server.url = f"git://127.0.0.1:{port}/team/app.git"
    return server


class Sshd(Server):
    """Serves ssh://USER@127.0.0.1:PORT/…/app.git to who has the key. `known` is its line for known_hosts."""

    def __init__(self, repository, public_keys):
        if not os.path.exists("/usr/sbin/sshd"):
            tenon.skip("openssh-server is not installed")
        self.folder = tempfile.mkdtemp(prefix="sshd.")
        self.made_run = os.geteuid() == 0 and not os.path.exists("/run/sshd")
        if self.made_run:
            os.mkdir("/run/sshd", 0o755)
        self.host_key = os.path.join(self.folder, "host_key")
        make_key(self.host_key)
        keys = tenon.write(os.path.join(self.folder, "authorized_keys"), "".join(public_keys))
        port = free_port()
        settings = [f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {self.host_key}", f"AuthorizedKeysFile {keys}",
                    "PidFile none", "StrictModes no", "UsePAM no", "PasswordAuthentication no", "PermitRootLogin yes",
                    "KbdInteractiveAuthentication no", "LogLevel VERBOSE"]
        config = tenon.write(os.path.join(self.folder, "config"), "\n".join(settings) + "\n")
        super().__init__(["/usr/sbin/sshd", "-D", "-e", "-f", config], port)
        user = subprocess.run(["id", "-un"], check=True, text=True, stdout=subprocess.PIPE).stdout.strip()
        self.url = f"ssh://{user}@127.0.0.1:{port}{repository.path}"
        self.known = f"[127.0.0.1]:{port} " + " ".join(tenon.read(self.host_key + ".pub").split()[:2]) + "\n"

    def close(self):
        super().close()
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.made_run:
            os.rmdir("/run/sshd")


def make_key(path, kind="ed25519", *more):
    """A key without a passphrase, and its line for authorized_keys."""
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", path, *more], check=True)
    return tenon.read(path + ".pub")


class Http:
    """Serves http://127.0.0.1:PORT/team/app.git to who knows the password. `failures`: so many requests are answered with
    503 first. `gate`: requests for objects wait until it is set."""

    def __init__(self, repository, user=None, password=None):
        self.failures = 0
        self.requests = 0
        self.gate = threading.Event()
        self.gate.set()
        self.waiting = threading.Event()
        outer = self
        wanted = None if user is None else "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.0"

            def log_message(self, *_):
                pass

            def handle_git(self):
                outer.requests += 1
                if outer.failures > 0:
                    outer.failures -= 1
                    self.send_error(503)
                elif wanted is not None and self.headers.get("Authorization") != wanted:
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="git"')
                    self.end_headers()
                else:
                    if self.command == "POST":
                        outer.waiting.set()
                        outer.gate.wait(60)
                    self.run_backend()

            do_GET = do_POST = handle_git

            def run_backend(self):
                path, _, query = self.path.partition("?")
                env = {"PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": repository.base, "GIT_HTTP_EXPORT_ALL": "1",
                       "PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": self.command,
                       "REMOTE_USER": "someone", "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                       "CONTENT_LENGTH": self.headers.get("Content-Length", ""),
                       "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                       "GIT_PROTOCOL": self.headers.get("Git-Protocol", "")}
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                answer = subprocess.run(["git", "http-backend"], input=body, env=env, stdout=subprocess.PIPE,
                                        check=False).stdout
                head, _, rest = answer.partition(b"\r\n\r\n")
                headers = [line.partition(": ")[::2] for line in head.decode().split("\r\n") if line]
                status = next((value for name, value in headers if name == "Status"), "200 OK")
                self.send_response(int(status.split()[0]))
                for name, value in headers:
                    if name != "Status":
                        self.send_header(name, value)
                self.end_headers()
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    self.wfile.write(rest)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/team/app.git"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()


class IntoContainers:
    """While it is used with `with`, loopback ports of this host answer in the engine's containers, too: their sockets
    are made in the containers' network namespaces, and what comes there goes on to the same port here."""

    def __init__(self, client, ports):
        self.client, self.ports = client, ports
        self.stop = threading.Event()
        self.seen = set()
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(10)

    def _watch(self):
        while not self.stop.wait(0.05):
            with contextlib.suppress(Exception):  # containers that come and go
                for container in self.client.containers():
                    if container["Id"] not in self.seen:
                        pid = self.client.call("GET", f"/containers/{container['Id']}/json")["State"]["Pid"]
                        if pid > 0:
                            self._open(pid)
                            self.seen.add(container["Id"])

    def _open(self, pid):
        with open("/proc/self/ns/net", "rb") as home, open(f"/proc/{pid}/ns/net", "rb") as there:
            if os.stat(home.fileno()).st_ino == os.stat(there.fileno()).st_ino:
                return
            sockets = []
            if self.libc.setns(there.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            try:
                for port in self.ports:
                    listener = socket.socket()
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    listener.bind(("127.0.0.1", port))
                    listener.listen(16)
                    sockets.append((listener, port))
            finally:
                if self.libc.setns(home.fileno(), CLONE_NEWNET) != 0:
                    os._exit(1)  # never go on in a container's network
        for pair in sockets:
            threading.Thread(target=self._accept, args=pair, daemon=True).start()

    def _accept(self, listener, port):
        listener.settimeout(0.2)
        with listener:
            while not self.stop.is_set():
                with contextlib.suppress(TimeoutError):
                    near, _ = listener.accept()
                    near.settimeout(None)
                    far = socket.create_connection(("127.0.0.1", port))
                    for source, target in ((near, far), (far, near)):
                        threading.Thread(target=pump, args=(source, target), daemon=True).start()


def pump(source, target):
    """Copies one direction of a connection to its end."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


class Secrets:
    """While it is used with `with`, looks for secrets where every user of the host could see them: in the command lines
    and the environments of all processes."""

    def __init__(self, *texts):
        self.texts = [text.encode() for text in texts]
        self.stop = threading.Event()
        self.found = []
        self.looks = 0
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(10)

    def check(self):
        """Fails if one was seen."""
        tenon.check(self.looks > 0, "nobody looked for secrets")
        tenon.check_equal(self.found, [], "secrets in command lines or environments")

    def _watch(self):
        while not self.stop.is_set():
            for entry in os.listdir("/proc"):
                if entry.isdigit() and int(entry) != os.getpid():
                    for name in ("cmdline", "environ"):
                        with contextlib.suppress(OSError):
                            with open(f"/proc/{entry}/{name}", "rb") as file:
                                text = file.read()
                            if any(secret in text for secret in self.texts):
                                self.found.append((name, procs.command(int(entry))[:200]))
            self.looks += 1
            time.sleep(0.02)
