# deadline: 120
"""Jobs do not reach the addresses at which a cloud tells a host its credentials, unless tenon.yaml allows it. All in a network
of the test's own, in which these addresses are this machine's."""

import ctypes
import os
import re
import socket
import subprocess
import tempfile
import threading

import own_engine
import tenon
from tenon import check_equal, check_in

CLONE_NEWNET = 0x40000000
ADDRESSES = ["169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254"]
OTHERS = ["192.0.2.1", "169.254.1.1", "fd00:ec2::253"]
ASK = r"""
import os, socket, sys
def outcome(action):
    try:
        action()
        return "reached"
    except OSError as error:
        return os.strerror(error.errno) if error.errno else str(error)
def tcp(address, port=80):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as link:
        link.settimeout(5)
        link.connect((address, port))
def udp(address, port=80):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.sendto(b"x", (address, port))
for address in sys.argv[1:]:
    print(address, outcome(lambda: tcp(address)), "/", outcome(lambda: udp(address)), "/", outcome(lambda: tcp(address, 53)))
"""
CONFIG = f"""version: 2.1
jobs:
  ask:
    ENVIRONMENT
    steps:
      - checkout
      - run: {{name: ask, command: python3 ask.py {' '.join(ADDRESSES + OTHERS + ['::ffff:169.254.169.254'])}}}
workflows: {{all: {{jobs: [ask]}}}}
"""


def ip(*words):
    """iproute2's command."""
    subprocess.run(["ip", *words], check=True)


def listen(address, port):
    """Accepts and forgets, for as long as the test runs."""
    server = socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET)

    def serve():
        while True:
            server.accept()[0].close()

    threading.Thread(target=serve, daemon=True).start()


def own_network():
    """A network in which all these addresses are ours and nobody else's can be reached."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        tenon.fail(f"no network of the test's own: {os.strerror(ctypes.get_errno())}")
    ip("link", "set", "lo", "up")
    for address in ADDRESSES + OTHERS:
        ip("addr", "add", address + ("/128" if ":" in address else "/32"), "dev", "lo", *(["nodad"] * (":" in address)))
    for address in ["0.0.0.0", "::"]:
        for port in (80, 53):
            listen(address, port)


def asked(environment, settings, docker=None):
    """{address: outcome} of one run, and what its first step says."""
    folder = tenon.project(config=CONFIG.replace("ENVIRONMENT", environment), files={"ask.py": ASK})
    path = tenon.write(os.path.join(tempfile.mkdtemp(), "tenon.yaml"), settings)
    result = tenon.run(["run", "--settings", path, "--json"], folder, docker, 60).expect(0)
    lines = [line.split(" ", 1) for line in result.log("ask", "ask").splitlines()]
    return {address: outcome for address, outcome in lines}, result.log("ask", "Spin up environment")


def expect(denied):
    """The outcomes by address: TCP, UDP, and port 53, which is open since some of them are name servers, too."""
    free = "reached / reached / reached"
    wanted = {address: f"{denied} / {denied} / reached" if denied else free for address in ADDRESSES}
    return {**wanted, **{address: free for address in OTHERS}}


def check_host():
    """The host driver."""
    found, first = asked("machine: true", "store: {keep: {logs: 1d}}")
    mapped = found.pop("::ffff:169.254.169.254")
    check_equal(found, expect("Operation not permitted"), "host")
    check_equal(mapped, "Operation not permitted / Operation not permitted / reached", "host: IPv4 in IPv6")
    check_equal("metadata" in first, False, f"host: {first}")
    if tenon.SANITIZED:  # no other code, and each run takes a while there
        return
    found, first = asked("machine: true", "network: {metadata: allow}")
    found.pop("::ffff:169.254.169.254")
    check_equal(found, expect(None), "host, allowed")
    check_in("are within reach: network.metadata allows it", first, "host, allowed")
    found, first = asked("machine: true", "machine: {enclosure: group}")
    found.pop("::ffff:169.254.169.254")
    check_equal(found, expect(None), "host, without a control group")
    check_in("(169.254.169.254 and the like) are within reach: that needs a control group of version 2 for the job", first,
             "host, without a control group")


def check_docker():
    """Containers, by way of the bridge of an engine in this network."""
    hosts = [address for address in ADDRESSES + OTHERS if ":" not in address]
    ask = "for a in %s; do for p in 80 53; do echo $a $p $(nc $a $p </dev/null 2>&1 && echo reached); done; done"
    config = CONFIG.replace("ENVIRONMENT", "docker: [{image: 'alpine:latest'}]").replace("- checkout", "")
    with own_engine.OwnEngine(os.path.join(os.environ["TENON_TEST_FOLDER"], "e"), bridge=True) as engine:
        engine.copy_image("alpine:latest", tenon.engine())
        for settings in ("store: {keep: {logs: 1d}}", "network: {metadata: allow}")[:1 if tenon.SANITIZED else 2]:
            folder = tenon.project(config=re.sub("python3 ask.py .*}", f'"{ask % " ".join(hosts)}"}}', config))
            path = tenon.write(os.path.join(tempfile.mkdtemp(), "tenon.yaml"), settings)
            result = tenon.run(["run", "--settings", path, "--json"], folder, engine.host, 60).expect(0)
            denied = "allow" not in settings
            want = []
            for address in hosts:
                no = f"nc: can't connect to remote host ({address}): Permission denied"
                want += [f"{address} 80 " + (no if denied and address in ADDRESSES else "reached"), f"{address} 53 reached"]
            check_equal(result.log("ask", "ask").splitlines(), want, f"docker, {settings}")
            first = result.log("ask", "Spin up environment")
            check_equal("metadata" in first, False, f"docker, {settings}: {first}")
        tenon.check_nothing_left(engine.host)


if os.geteuid() != 0:
    tenon.skip("needs root for a network of its own")
if not any(line.split()[2] == "cgroup2" for line in tenon.read("/proc/mounts").splitlines()):
    tenon.skip("needs control groups of version 2")
own_network()
check_host()
tenon.check_nothing_left()
if os.environ.get("TENON_TEST_DOCKER_HOST"):
    check_docker()
