# deadline: 120
"""Engines that are reached in other ways than by a socket of this host: TCP with TLS, a socket that is forwarded, one
that does not see this host's folders. Everything works as on a local engine; what is wrong is said."""

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
import time

import procs
import tenon
import users
from own_engine import OwnEngine, free_port
from tenon import check, check_equal, check_in

LINES = 6000
CONFIG = f"""version: 2.1
jobs:
  main:
    docker:
      - image: alpine:latest
      - {{image: "alpine:latest", name: beside, command: [sh, -c, "while :; do echo pong | nc -l -p 4000; done"]}}
    steps:
      - checkout
      - run: {{name: service, command: "for i in 1 2 3 4 5 6 7 8 9; do nc beside 4000 </dev/null && break; sleep 0.2; done"}}
      - run: {{name: numbers, command: 'i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); echo line-$i; [ $((i % 40)) = 0 ] && sleep 0.02; done; true'}}
      - run: {{name: big, command: "head -c 5000000 /dev/zero | tr '\\\\0' x; circleci env subst 'is ${{CIRCLE_JOB}}'"}}
      - run: echo kept > kept.txt
      - save_cache: {{key: "v1", paths: [kept.txt]}}
      - persist_to_workspace: {{root: ., paths: [kept.txt]}}
      - store_artifacts: {{path: kept.txt}}
  next:
    docker: [{{image: "alpine:latest"}}]
    steps:
      - attach_workspace: {{at: ws}}
      - restore_cache: {{keys: ["v1"]}}
      - run: cat ws/kept.txt kept.txt
  hello:
    docker: [{{image: "alpine:latest"}}]
    steps: [run: {{name: hello, command: "echo hello; ls -d /.tenon/run; tr '\\\\0' ' ' </proc/1/cmdline"}}]
workflows:
  all: {{jobs: [main, {{next: {{requires: [main]}}}}]}}
  one: {{jobs: [hello]}}
"""


def openssl(folder, *words):
    """Runs openssl in a folder."""
    subprocess.run(["openssl", *words], cwd=folder, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


def make_ca(folder, name):
    """NAME.pem, NAME.key: an authority."""
    openssl(folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
            f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}", "-days", "2")


def make_certificate(folder, authority, name, extension, days="2"):
    """NAME.pem, NAME.key: signed by the authority."""
    tenon.write(f"{folder}/{name}.ext", extension + "\n")
    openssl(folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
            f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
    openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey", f"{authority}.key",
            "-CAcreateserial", "-days", days, "-extfile", f"{name}.ext", "-out", f"{name}.pem")


def settings(path, engine, tls=None, shared=None):
    """A tenon.yaml; `tls` is (folder, ca, certificate or None)."""
    lines = ["docker:", f"  engine: {engine}"]
    if tls:
        folder, authority, certificate = tls
        lines += ["  tls:", f"    ca: {folder}/{authority}.pem"]
        if certificate:
            lines += [f"    certificate: {folder}/{certificate}.pem", f"    key: {folder}/{certificate}.key"]
    if shared:
        lines.append(f'  shared_folders: "{shared}"')
    return tenon.write(path, "\n".join(lines) + "\n")


def reason_of(project, config, env=None):
    """Why the docker executor cannot be used with these settings."""
    arguments = ["run", "--workflow", "one", "--json"] + (["--settings", config] if config else [])
    result = tenon.run(arguments, project, env=env).expect(3)
    task = result.job("hello")
    check_equal(task["state"], "infrastructure_failure", "a job without an engine")
    return task["reason"]


def check_hello(project, arguments, docker=None, env=None, shared=True):
    """The short job runs, and its agent is reached as expected."""
    result = tenon.run(["run", "--workflow", "one", "--json", *arguments], project, docker, env=env).expect(0)
    log = result.log("hello", "hello")
    check_in("hello\n/.tenon/run\n", log, "the job's output")
    check_in("--listen /.tenon/run/agent.sock" if shared else "--stdio", log, "how the agent serves")
    return result


def check_all(project, config, api):
    """Services, caches, workspaces and artifacts; the executor is killed twice in the middle."""
    with tenon.Running(["run", "--workflow", "all", "--json", "--settings", config], project) as running:
        for line in ("line-800", "line-3000"):
            running.wait_output(line + '\\n')
            victim = running.find("tenon-executor-docker")
            procs.kill(victim)
            check(procs.wait_gone(victim, 5), "the executor is there after SIGKILL")
        result = running.wait(60).expect(0)
    check_equal(result.log("main", "numbers"), "".join(f"line-{i + 1}\n" for i in range(LINES)), "every line once")
    check_equal(result.log("main", "service"), "pong\n", "the service's word")
    big = result.log("main", "big")
    check_equal((len(big), big[5000000:].strip()), (len(big), "is main"), "five million bytes, then a word")
    check_equal(big[:5000000].count("x"), 5000000, "every byte")
    check_equal(result.log("next", "cat ws/kept.txt kept.txt"), "kept\nkept\n", "workspace and cache")
    check_equal(api.containers(), [], "containers left")
    check_equal(api.volumes(), [], "volumes left")


def check_refused(project, folder, port, env):
    """What is wrong with an address or a certificate is said, with what to do."""
    tls = f"tcp://127.0.0.1:{port}"
    path = f"{folder}/wrong.yaml"
    cannot = f"the docker executor is unavailable: the Docker Engine at {tls} cannot be used: "
    check_equal(reason_of(project, settings(path, tls, (folder, "other", "client"))),
                cannot + "its certificate was signed by a CA that is not known here (SSL certificate problem: unable to "
                "get local issuer certificate); set docker.tls.ca, or ca.pem in DOCKER_CERT_PATH, to the CA that signed "
                "it", "another CA")
    # Which of these words is seen first is chance: the engine sends an alert and closes the connection at once.
    closed = cannot + "it closed the connection, as it does when it refuses our certificate, or demands one and none is set ("
    advice = ("; use a certificate for clients that the CA of the engine's --tlscacert signed (docker.tls.certificate and "
              "docker.tls.key, or cert.pem and key.pem in DOCKER_CERT_PATH)")
    for certificate, words in ((None, ("it refuses our certificate, or demands one and none is set (",
                                       "it demands a certificate of ours, and none is set (")),
                               ("stranger", ("it refuses our certificate, which another CA signed (",
                                             "it refuses our certificate, or demands one and none is set ("))):
        reason = reason_of(project, settings(path, tls, (folder, "ca", certificate)))
        check(reason.startswith((closed, *(cannot + word for word in words))) and reason.endswith(advice),
              f"with the client certificate {certificate}: {reason}")
    name = f"tcp://localhost:{port}"
    check_in(f"the Docker Engine at {name} cannot be used: its certificate is for another host (SSL: no alternative "
             "certificate subject name matches target host name 'localhost'); make one whose subjectAltName has this "
             "name or address, or use a name that it has",
             reason_of(project, settings(path, name, (folder, "ca", "client"))), "another host's name")
    check_in("the engine demands TLS: set docker.tls (ca, certificate, key), or DOCKER_TLS_VERIFY and DOCKER_CERT_PATH",
             reason_of(project, settings(path, tls)), "no TLS with an engine that wants it")
    check_equal(reason_of(project, None, dict(env, DOCKER_HOST="ssh://me@build1:2222")),
                'the docker executor is unavailable: DOCKER_HOST is "ssh://me@build1:2222": executors start no programs, '
                'ssh neither; forward the engine\'s socket, ssh -N -p 2222 -L '
                '"$XDG_RUNTIME_DIR/docker-remote.sock:/var/run/docker.sock" me@build1, and set it to unix:// and that '
                "path, or use tcp:// with TLS", "an ssh address")
    check_equal(reason_of(project, settings(path, "tcp://192.0.2.1:2375")),
                'the docker executor is unavailable: docker.engine is "tcp://192.0.2.1:2375" without TLS: whoever reaches '
                "such an engine is root on its host, so it is used on loopback only; set docker.tls (ca, certificate, "
                "key) or DOCKER_TLS_VERIFY and DOCKER_CERT_PATH, and start the engine with --tlsverify", "plain TCP")


def listens(port):
    """True if somebody accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def check_expired(project, folder):
    """A server whose certificate has expired, without any engine behind it."""
    port = free_port()
    server = subprocess.Popen(["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", "expired.pem", "-key",
                               "expired.key", "-quiet"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    try:
        check(procs.wait_for(lambda: listens(port), 20), "openssl s_server does not listen")
        address = f"tcp://127.0.0.1:{port}"
        check_in(f"the Docker Engine at {address} cannot be used: its certificate has expired (SSL certificate problem: "
                 "certificate has expired); renew it",
                 reason_of(project, settings(f"{folder}/expired.yaml", address, (folder, "ca", "client"))), "expired")
    finally:
        server.kill()
        server.wait()


class Forwarded:
    """The engine's socket forwarded by a real ssh, over a server of its own on the loopback."""

    def __init__(self, folder, target):
        self.folder, self.port, self.path = folder, free_port(), folder + "/forwarded.sock"
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/{name}_key"], check=True)
        tenon.write(f"{folder}/sshd", f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\n"
                    f"AuthorizedKeysFile {folder}/user_key.pub\nStrictModes no\nUsePAM no\nPidFile none\n"
                    "PasswordAuthentication no\nAllowStreamLocalForwarding yes\nPermitRootLogin yes\n")
        os.makedirs("/run/sshd", exist_ok=True)
        self.server = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", f"{folder}/sshd"],
                                       stderr=open(f"{folder}/sshd.log", "wb"))
        self.client = None
        self.argv = ["ssh", "-N", "-F", "/dev/null", "-i", f"{folder}/user_key", "-p", str(self.port), "-o",
                     "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={folder}/known", "-o", "BatchMode=yes", "-o",
                     "ExitOnForwardFailure=yes", "-o", "StreamLocalBindUnlink=yes", "-L", f"{self.path}:{target}",
                     "127.0.0.1"]

    def __enter__(self):
        self.connect()
        return self

    def connect(self):
        """Starts ssh (again) once the server listens."""
        end = time.monotonic() + 20
        while not os.path.exists(self.path):
            if self.client is None or self.client.poll() is not None:
                self.client = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL,
                                               stderr=open(f"{self.folder}/ssh.log", "wb"))
            check(time.monotonic() < end, f"ssh does not forward: {tenon.read(self.folder + '/ssh.log')} "
                  f"{tenon.read(self.folder + '/sshd.log')}")
            time.sleep(0.02)
        users.let_in(self.path)

    def drop(self):
        """The connection is gone."""
        self.client.kill()
        self.client.wait()
        os.unlink(self.path)

    def __exit__(self, *_):
        for child in (self.client, self.server):
            if child is not None:
                child.kill()
                child.wait()


def check_forwarded(project, folder, api, env):
    """A job over ssh by an engine that sees no folder of ours; the connection is lost in the middle and comes back."""
    with Forwarded(folder, api.path) as forwarded:
        arguments = ["run", "--workflow", "all", "--json"]
        with tenon.Running(arguments, project, "unix://" + forwarded.path, env) as running:
            running.wait_output("line-800\\n")
            forwarded.drop()
            forwarded.connect()
            result = running.wait(60).expect(0)
        check_equal(result.log("main", "numbers"), "".join(f"line-{i + 1}\n" for i in range(LINES)), "over ssh")
        check_equal(api.containers(), [], "containers left over ssh")


def main():
    source = tenon.engine()
    project = tenon.project(config=CONFIG)
    folder = tempfile.mkdtemp(prefix="e.")
    run = tempfile.mkdtemp(prefix="r.", dir="/tmp")  # short, or the command takes another folder for its sockets
    atexit.register(shutil.rmtree, run, True)
    for name in ("ca", "other"):
        make_ca(folder, name)
    make_certificate(folder, "ca", "server", "subjectAltName=IP:127.0.0.1")
    make_certificate(folder, "ca", "client", "extendedKeyUsage=clientAuth")
    make_certificate(folder, "other", "stranger", "extendedKeyUsage=clientAuth")
    make_certificate(folder, "ca", "expired", "subjectAltName=IP:127.0.0.1", "-1")
    for name, link in (("client.pem", "cert.pem"), ("client.key", "key.pem")):
        os.symlink(name, f"{folder}/{link}")
    port = free_port()
    env = {"XDG_RUNTIME_DIR": run}
    options = ["--tlsverify", "--tlscacert", f"{folder}/ca.pem", "--tlscert", f"{folder}/server.pem", "--tlskey",
               f"{folder}/server.key"]
    with OwnEngine(folder + "/d", [f"tcp://127.0.0.1:{port}"], options, hidden=run) as engine:
        engine.copy_image("alpine:latest", source)
        tls = f"tcp://127.0.0.1:{port}"
        check_hello(project, [], tls, dict(DOCKER_TLS_VERIFY="1", DOCKER_CERT_PATH=folder))
        check_all(project, settings(f"{folder}/no.yaml", tls, (folder, "ca", "client"), "no"), engine.api)
        check_hello(project, [], engine.host, env, shared=False)
        check_refused(project, folder, port, {})
        check_forwarded(project, folder, engine.api, env)
    check_expired(project, folder)
    tenon.check_nothing_left()


main()
