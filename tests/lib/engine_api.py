"""The few calls of the Docker Engine API that tests need, over its unix socket. Standard library only."""

import http.client
import json
import os
import socket
import urllib.parse

API = "/v1.41"


class EngineError(Exception):
    """The engine answered with an error status; `status` is the HTTP status."""

    def __init__(self, status, message):
        super().__init__(f"engine answered {status}: {message}")
        self.status = status


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Engine:
    """An engine at `host` (unix:///path)."""

    def __init__(self, host):
        if not host.startswith("unix://"):
            raise ValueError(f"only unix:// engines are supported here, not {host}")
        self.host = host
        self.path = host[len("unix://"):]

    def raw(self, method, path, body=None, headers=None, timeout=60):
        """Sends one request and returns (status, bytes). `body` may be an open file."""
        connection = _UnixConnection(self.path, timeout)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def call(self, method, path, body=None, query=None, timeout=60):
        """Sends JSON and returns the parsed answer (None when empty). Raises EngineError from status 400 on."""
        if query:
            path += "?" + urllib.parse.urlencode(query)
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Content-Type": "application/json"} if data is not None else {}
        status, answer = self.raw(method, API + path, data, headers, timeout)
        if status >= 400:
            raise EngineError(status, answer.decode(errors="replace").strip())
        return json.loads(answer) if answer.strip().startswith((b"{", b"[")) else None

    def ping(self):
        """True when the engine answers."""
        try:
            return self.raw("GET", "/_ping", timeout=2)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def containers(self):
        """All containers, stopped ones too, as the engine lists them."""
        return self.call("GET", "/containers/json", query={"all": "1"})

    def volumes(self):
        """All volumes."""
        return self.call("GET", "/volumes").get("Volumes") or []

    def networks(self):
        """Networks beside the engine's own."""
        return [n for n in self.call("GET", "/networks") if n["Name"] not in ("none", "host", "bridge")]

    def remove_container(self, identity):
        """Kills and removes a container with its anonymous volumes."""
        self.call("DELETE", f"/containers/{identity}", query={"force": "1", "v": "1"})

    def image_names(self):
        """All names of all images."""
        return {tag for image in self.call("GET", "/images/json") for tag in image.get("RepoTags") or []}

    def image(self, name):
        """An image's description, or None."""
        try:
            return self.call("GET", f"/images/{urllib.parse.quote(name)}/json")
        except EngineError as error:
            if error.status == 404:
                return None
            raise

    def load(self, file):
        """Loads an archive in `docker save` format from an open file; raises EngineError when the engine refuses it."""
        headers = {"Content-Type": "application/x-tar", "Content-Length": str(os.fstat(file.fileno()).st_size)}
        status, answer = self.raw("POST", API + "/images/load?quiet=1", file, headers, timeout=300)
        if status >= 400 or b"errorDetail" in answer:
            raise EngineError(status, answer.decode(errors="replace").strip())

    def run(self, image, command, user=None, timeout=60):
        """Runs a container to its end, removes it, and returns (exit status, output of both streams)."""
        body = {"Image": image, "Cmd": command, "Tty": True, "HostConfig": {"NetworkMode": "none"}}
        if user:
            body["User"] = user
        identity = self.call("POST", "/containers/create", body)["Id"]
        try:
            self.call("POST", f"/containers/{identity}/start")
            status = self.call("POST", f"/containers/{identity}/wait", timeout=timeout)["StatusCode"]
            output = self.raw("GET", f"{API}/containers/{identity}/logs?stdout=1&stderr=1")[1]
            return status, output.decode(errors="replace").replace("\r\n", "\n")
        finally:
            self.remove_container(identity)
