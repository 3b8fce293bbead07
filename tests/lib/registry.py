"""A registry on loopback: Debian's docker-registry with a password, images made on the spot, and a proxy that fails when
it is told to. Standard library only."""

import base64
import contextlib
import gzip
import hashlib
import http.client
import http.server
import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
import threading
import time
import urllib.parse

import procs

USER, PASSWORD = "ci-user", "correct-horse-battery"
START_SECONDS = 20
_SEARCH = "/usr/bin:/usr/sbin:/bin:/sbin:" + os.environ.get("PATH", "")


def programs_missing():
    """The Debian packages that a registry needs and that are not installed."""
    wanted = {"docker-registry": "docker-registry", "htpasswd": "apache2-utils"}
    return [package for program, package in wanted.items() if not shutil.which(program, path=_SEARCH)]


def free_port():
    """A port of loopback that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def layer(files):
    """A gzipped layer of files: {path: bytes, or the target of a symbolic link}."""
    data = io.BytesIO()
    with gzip.GzipFile(fileobj=data, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            if isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
                archive.addfile(entry)
            else:
                entry.size, entry.mode = len(content), 0o755
                archive.addfile(entry, io.BytesIO(content))
    return data.getvalue()


def shell_layer(busybox):
    """A layer with a static busybox as every command that it knows."""
    with open(busybox, "rb") as file:
        files = {"bin/busybox": file.read()}
    names = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split()
    files.update({f"bin/{name}": "busybox" for name in names if name != "busybox"})
    files["etc/passwd"] = b"root:x:0:0:root:/root:/bin/sh\n"
    return layer(files)


class Registry:
    """Debian's docker-registry with its data in a temporary folder. Used with `with`. Without a password everybody may
    read and write."""

    def __init__(self, password=True):
        self.folder = tempfile.mkdtemp(prefix="registry.")
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.password = password
        self.child = None

    def __enter__(self):
        auth = ""
        if self.password:
            table = subprocess.run([shutil.which("htpasswd", path=_SEARCH), "-nbB", "-C", "4", USER, PASSWORD], check=True,
                                   capture_output=True, text=True).stdout
            with open(self.folder + "/htpasswd", "w", encoding="utf-8") as file:
                file.write(table)
            auth = f"auth: {{htpasswd: {{realm: tests, path: {self.folder}/htpasswd}}}}\n"
        with open(self.folder + "/config.yml", "w", encoding="utf-8") as file:
            file.write(f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n"
                       f"storage: {{filesystem: {{rootdirectory: {self.folder}/data}}}}\n{auth}"
                       f"http: {{addr: '{self.host}'}}\n")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "REGISTRY_"))}
        with open(self.folder + "/log", "wb") as log:
            self.child = subprocess.Popen([shutil.which("docker-registry", path=_SEARCH), "serve",
                                           self.folder + "/config.yml"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                          env=environment)
        if not procs.wait_for(lambda: self.child.poll() is not None or self._answers(), START_SECONDS, 0.05) or \
                self.child.poll() is not None:
            with open(self.folder + "/log", encoding="utf-8") as file:
                raise RuntimeError(f"docker-registry does not start: {file.read()[-2000:]}")
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Ends it and removes its data; fine when it is gone already."""
        if self.child is not None:
            self.child.terminate()
            self.child.wait(10)
            shutil.rmtree(self.folder)
        self.child = None

    def _answers(self):
        try:
            return self.request("GET", "/v2/")[0] == 200
        except OSError:
            return False

    def request(self, method, path, body=None, headers=None):
        """(status, headers, body) of a request with the password."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            connection.request(method, path, body, {"Authorization": f"Basic {token}", **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def _blob(self, repository, data):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        if self.request("HEAD", f"/v2/{repository}/blobs/{digest}")[0] == 200:
            return digest
        status, headers, body = self.request("POST", f"/v2/{repository}/blobs/uploads/")
        assert status == 202, (status, body)
        place = urllib.parse.urlsplit(headers["Location"])
        status, _, body = self.request("PUT", f"{place.path}?{place.query}&digest={digest}", data,
                                       {"Content-Type": "application/octet-stream"})
        assert status == 201, (status, body)
        return digest

    def push(self, repository, tag, layers, labels=None):
        """Makes REPOSITORY:TAG of gzipped layers; returns its digest."""
        diffs = ["sha256:" + hashlib.sha256(gzip.decompress(data)).hexdigest() for data in layers]
        config = json.dumps({"architecture": "amd64", "os": "linux", "created": "2025-01-01T00:00:00Z",
                             "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"], "Labels": labels or {}},
                             "rootfs": {"type": "layers", "diff_ids": diffs}}).encode()
        kind = "application/vnd.docker.distribution.manifest.v2+json"
        part = "application/vnd.docker.container.image.v1+json"
        blob = "application/vnd.docker.image.rootfs.diff.tar.gzip"
        manifest = json.dumps({
            "schemaVersion": 2, "mediaType": kind,
            "config": {"mediaType": part, "size": len(config), "digest": self._blob(repository, config)},
            "layers": [{"mediaType": blob, "size": len(data), "digest": self._blob(repository, data)}
                       for data in layers]}).encode()
        status, headers, body = self.request("PUT", f"/v2/{repository}/manifests/{tag}", manifest, {"Content-Type": kind})
        assert status == 201, (status, body)
        return headers["Docker-Content-Digest"]


class FaultProxy:
    """An HTTP proxy in front of a registry. `faults` is {repository: [(status, code, message, *headers) or "drop"]}: each
    request for a manifest of the repository uses up one of them, and is passed on when there is none. `slow` is
    {repository: seconds} that a blob of it takes. `seen` are the manifests that were asked for. Used with `with`."""

    def __init__(self, registry):
        self.faults = {}
        self.slow = {}
        self.seen = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def _answer(self, status, headers, body):
                self.send_response(status)
                for name, value in headers:
                    if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                        self.send_header(name, value)
                length = dict((n.lower(), v) for n, v in headers).get("content-length")
                self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(body)))
                self.end_headers()
                if self.command == "HEAD":
                    return
                seconds = outer.slow.get(self.path.split("/blobs/")[0][len("/v2/"):], 0) if len(body) > 1000000 else 0
                part = len(body) // 20 + 1
                with contextlib.suppress(ConnectionError):  # who waits may have had enough
                    for at in range(0, len(body), part):
                        self.wfile.write(body[at:at + part])
                        time.sleep(seconds / 20)

            def do_GET(self):  # noqa: N802
                """One request."""
                if "/manifests/" in self.path:
                    outer.seen.append(self.path)
                    faults = outer.faults.get(self.path.split("/manifests/")[0][len("/v2/"):])
                    fault = faults.pop(0) if faults else None
                    if fault == "drop":
                        self.close_connection = True
                        self.connection.shutdown(socket.SHUT_RDWR)
                        return
                    if fault is not None:
                        body = json.dumps({"errors": [{"code": fault[1], "message": fault[2]}]}).encode()
                        self._answer(fault[0], [("Content-Type", "application/json"), *fault[3:]], body)
                        return
                connection = http.client.HTTPConnection("127.0.0.1", registry.port, timeout=20)
                connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():  # some names come more than once
                    if name.lower() not in ("connection", "accept-encoding"):
                        connection.putheader(name, value)
                connection.endheaders()
                answer = connection.getresponse()
                self._answer(answer.status, answer.getheaders(), answer.read())
                connection.close()

            do_HEAD = do_GET

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.host = f"127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
