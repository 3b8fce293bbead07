#!/usr/bin/env python3
# deadline: 240
"""What the Docker executor says and leaves in its special cases, on the private engine: services, containers that end,
programs that cannot start, the kernel's limits, removal while a container is being made."""

import os
import signal

from tenon import Running, check, check_equal, check_in, check_nothing_left, docker_host, engine, project, run

HOST = docker_host()
BASE = "cimg/base:2025.05-20.04"


def config(images, command, resource_class="small"):
    """One job `build` with these docker entries and one step `go`."""
    entries = "".join(f"      - {entry}\n" for entry in images)
    return (f"version: 2.1\njobs:\n  build:\n    resource_class: {resource_class}\n    docker:\n{entries}"
            f"    steps:\n      - run:\n          name: go\n          command: {command}\nworkflows:\n  w:\n"
            f"    jobs: [build]\n")


def job(images, command, **more):
    """Runs such a job to its end."""
    result = run(["run", "--json"], project(config=config(images, command, **more)), docker=HOST)
    check_nothing_left(HOST)
    return result


def primaries():
    """Ids of the primary containers."""
    return [found["Id"] for found in engine().containers() if found["Labels"].get("com.tenon.role") == "primary"]


# A service shares localhost and has its name there; the image entry's environment is the container's.
seen = job([f"{{image: '{BASE}', environment: {{FROM: entry}}}}",
            "{image: 'alpine:latest', name: side, command: [sleep, '1000']}"],
           "'echo $FROM; getent hosts side; command -v circleci'").expect(0).log("build", "go")
check_in("entry\n127.0.0.1 ", seen, "environment and name of the service")
check_in("/.tenon/bin/circleci", seen, "the command circleci")

# A service that ends by itself ends no job.
job([f"image: '{BASE}'", "{image: 'alpine:latest', command: [sh, -c, 'exit 3']}"], "sleep 0.5").expect(0)

# A program that is not in the image.
result = job([f"image: '{BASE}'", "{image: 'alpine:latest', command: [/no/such]}"], "'true'").expect(3)
check_in("docker entry 2: ", result.job_log("build"), "the entry is named")
check_in("/no/such", result.job_log("build"), "the program is named")

# An image that cannot be had.
result = job([f"image: '{BASE}'", "image: 'nosuch/thing:1.2'"], "'true'").expect(3)
check_in("docker entry 2: image docker.io/nosuch/thing:1.2: ", result.job_log("build"), "the image is named")

# Somebody kills the primary container.
with Running(["run", "--json"], project(config=config([f"image: '{BASE}'"], "echo begun; sleep 100")),
             docker=HOST) as running:
    running.wait_output("begun")
    found = primaries()
    check_equal(len(found), 1, "primary containers")
    engine().call("POST", f"/containers/{found[0]}/kill")
    result = running.wait(60).expect(3)
check_in("the primary container ended: it was killed", result.job("build")["reason"], "the reason")
check_nothing_left(HOST)

# The memory limit is the class's, and the job ends, not the environment.
result = job([f"image: '{BASE}'"], "'cat /sys/fs/cgroup/memory.max || cat /sys/fs/cgroup/memory/memory.limit_in_bytes'")
check_in(str(2048 << 20), result.expect(0).log("build", "go"), "the memory limit")

# Canceled at once, while the containers are being made: nothing stays behind.
for stage in ("Spin up environment", "Starting primary container"):
    with Running(["run"], project(config=config([f"image: '{BASE}'", "{image: 'alpine:latest', command: [sleep, '1000']}"],
                                                "sleep 100")), docker=HOST) as running:
        running.wait_output(stage)
        running.signal(signal.SIGINT)
        running.wait(60).expect(130)
    check_nothing_left(HOST)

# Killed while the containers are being made, the next life goes on or begins anew; nothing stays behind.
with Running(["run"], project(config=config([f"image: '{BASE}'"], "echo ok")), docker=HOST) as running:
    running.wait_output("Starting primary container")
    os.kill(running.find("tenon-executor-docker"), signal.SIGKILL)
    running.wait(90).expect(0)
check_nothing_left(HOST)
check(not primaries(), "primary containers are left")
