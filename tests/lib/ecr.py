"""A stand-in for AWS's registry service on loopback: GetAuthorizationToken, whose signature (AWS Signature Version 4) it
checks as AWS documents it. Standard library only."""

import base64
import datetime
import hashlib
import hmac
import http.server
import json
import threading

TARGET = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"


def _mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signature(method, path, headers, names, body, secret, scope, date):
    """The signature that a request with these signed headers must have."""
    canonical = "\n".join([method, path, "", *[f"{name}:{headers[name].strip()}" for name in names], "", ";".join(names),
                           hashlib.sha256(body).hexdigest()])
    key = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        key = _mac(key, part)
    to_sign = "\n".join(["AWS4-HMAC-SHA256", date, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    return _mac(key, to_sign).hex()


class Ecr:
    """The server. `keys` is {access key id: secret}, `token` what it gives (name:password). `refused` are the reasons of
    requests that it did not believe. Used with `with`."""

    def __init__(self, keys, token, region):
        self.refused = []
        self.failures = 0  # as many requests are answered with 503 first
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def _answer(self, status, body):
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def _doubt(self, headers, body):
                words = headers.get("authorization", "").split(" ", 1)
                fields = dict(part.strip().split("=", 1) for part in words[-1].split(",")) if len(words) == 2 else {}
                if words[0] != "AWS4-HMAC-SHA256" or set(fields) != {"Credential", "SignedHeaders", "Signature"}:
                    return "MissingAuthenticationTokenException"
                key_id, scope = fields["Credential"].split("/", 1)
                names = fields["SignedHeaders"].split(";")
                date = headers.get("x-amz-date", "")
                if key_id not in keys:
                    return "UnrecognizedClientException"
                if scope != f"{date[:8]}/{region}/ecr/aws4_request" or not {"host", "x-amz-date"} <= set(names):
                    return "IncompleteSignatureException"
                when = datetime.datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
                if abs((datetime.datetime.now(datetime.timezone.utc) - when).total_seconds()) > 300:
                    return "RequestExpired"
                wanted = signature(self.command, self.path, headers, names, body, keys[key_id], scope, date)
                return None if hmac.compare_digest(wanted, fields["Signature"]) else "InvalidSignatureException"

            def do_POST(self):  # noqa: N802
                """One request."""
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                if outer.failures:
                    outer.failures -= 1
                    self._answer(503, {"__type": "ServerException", "message": "try again"})
                    return
                doubt = self._doubt(headers, body)
                if headers.get("x-amz-target") != TARGET or json.loads(body) != {}:
                    doubt = "UnknownOperationException"
                if doubt:
                    outer.refused.append(doubt)
                    self._answer(400, {"__type": "com.amazonaws.ecr#" + doubt, "message": "it is not believed"})
                    return
                self._answer(200, {"authorizationData": [{
                    "authorizationToken": base64.b64encode(token.encode()).decode(), "expiresAt": 2000000000.0,
                    "proxyEndpoint": "https://123456789012.dkr.ecr." + region + ".amazonaws.com"}]})

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://localhost:{self.server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
