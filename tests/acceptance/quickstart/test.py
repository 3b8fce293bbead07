# deadline: 300
"""The README's first command: tools/quickstart builds and runs the example on this host and in Docker."""

import os
import subprocess

import tenon
from tenon import check_equal, check_in

HOST = tenon.docker_host()


def check_example(docker, options):
    """Runs examples/hello and looks at what came of it."""
    folder = tenon.project(os.path.join(tenon.REPOSITORY, "examples", "hello"))
    result = tenon.run(["run", "--json", *options], folder, docker).expect(0)
    check_equal(result.states(), {"greet": "succeeded", "test": "succeeded"}, "states of the jobs")
    check_equal(result.log("greet", "Write the greeting"), "Hello, Tenon!\n", "log of the greeting")
    greeting = os.path.join(result.job("greet")["artifacts"], "greeting.txt")
    check_equal(tenon.read(greeting), "Hello, Tenon!\n", "the artifact")
    check_equal((result.job("test")["tests"]["total"], result.job("test")["tests"]["failed"]), (3, 0), "test results")
    tenon.check_nothing_left(docker)


check_example(None, ["--executor", "docker=machine"])
check_example(HOST, [])

# The command itself uses build/, whichever build is under test.
if not tenon.SANITIZED:
    done = subprocess.run([os.path.join(tenon.REPOSITORY, "tools", "quickstart")], env=tenon.command_environment(HOST),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    text = done.stdout.decode(errors="replace")
    check_equal(done.returncode, 0, f"exit status of tools/quickstart, which printed\n{text}")
    check_in("The example's jobs on this host", text, "the run on this host")
    check_in("The same jobs in Docker", text, "the run in Docker")
    check_in("Next, in a checkout of a project of yours", text, "what to do next")
    tenon.check_nothing_left(HOST)
