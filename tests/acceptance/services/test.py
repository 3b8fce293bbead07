# deadline: 240
"""Containers of a job: services with a real Redis, what they put out, how they die; kept entrypoints; images without
bash, shell, home or a writable root; limits, the ramdisk, the kernel's OOM killer."""

import os
import re
import signal

import procs
import tenon
from tenon import check, check_equal, check_in

HERE = os.path.dirname(os.path.abspath(__file__))
HOST = tenon.docker_host()
GIB = 1 << 30
OUT_OF_MEMORY = "killed: out of memory (limit 2 GB, resource class small)"


def workflow(name, code, *options, docker=HOST):
    """Runs a workflow of the project beside this file."""
    result = tenon.run(["run", "--workflow", name, "--json", *options], tenon.project(HERE), docker).expect(code)
    tenon.check_nothing_left(docker)
    check_equal(tenon.engine().call("GET", "/volumes")["Volumes"] or [], [], "volumes")
    return result


def step(result, job, name, state, **members):
    """A step of a job must have this state and these members."""
    found = result.steps(job).get(name)
    check(found is not None, f"{job} has no step {name}, only {list(result.steps(job))}")
    check_equal({key: found.get(key) for key in ("state", *members)}, {"state": state, **members}, f"{job}, {name}")
    return result.log(job, name)


def check_good():
    """Everything that a job may use."""
    result = workflow("good", 0, "--env", "SECRET=correct-horse-battery")
    check_equal(set(result.states().values()), {"succeeded"}, "states of the jobs")
    check_equal(result.log("redis", "reach"), "localhost: +PONG\ncache: +OK\n127.0.0.1: :1\n", "Redis")
    redis = step(result, "redis", "Container cimg/redis:7.0 (cache)", "succeeded")
    check(redis.startswith("entrypoint of the redis image: redis-server --save \n"), redis)
    check_in("Ready to accept connections", redis, "the log of the service")
    died = step(result, "redis", "Container alpine:latest (other)", "failed", exit=3,
                reason="its program ended with exit status 3")
    check_in("hello 2 nobody ****\n", died, "user, environment and mask of a service")
    check_in("127.0.0.1\tcache", died, "names of the services, as a service sees them")
    check_in("last words\n", died, "a service's other stream, which the engine does not order with the first")
    check(died.endswith("\n\nits program ended with exit status 3\n"), "the end of a service's log: " + died)
    check_in("Service container 2 (docker.io/library/alpine:latest) ended: its program ended with exit status 3\n"
             "Its last output:\n", result.log("redis", "Spin up environment"), "a service that dies before the steps")
    check(result.log("server", "client").endswith("same\n"), "what the background server answers")
    check_equal(result.log("redis", "limits"), f"memory {2 * GIB}\npids 8192\ncpu 100000 100000\n", "limits")
    check_equal(result.log("redis", "ramdisk").split(), ["tmpfs", "512M", "ran"], "/mnt/ramdisk")
    kept = result.log("kept-by-label", "Container tenon-test/kept:1")
    check_equal(kept, "kept: nobody /var/tmp image /bin/sh\n", "user, folder, environment, command of what is kept")
    check_equal(result.log("kept-by-label", "see"), "ready\n1\n", "it runs beside the steps")
    check_equal(result.log("kept-by-config", "Container alpine:latest"), "began entry nobody one two words\n", "config")
    check_equal(result.log("ignored", "see"), "redis\ntenon-agent\n", "an entrypoint that is not kept")
    check("Container cimg/redis:7.0" not in result.steps("ignored"), "the entrypoint ran all the same")
    check_equal(result.log("nobody", "see"), "4242\n/\n/tmp/work\n", "a user without name and home")
    check_equal(result.log("distroless", "program"), "-c a step without a shell\n", "a program as shell")
    no_program = step(result, "service-no-program", "Container tenon-test/distroless:1", "failed")
    check_in("its program /app/text cannot be executed: exec format error", no_program, "exec format error")


def check_bad():
    """What fails a job, in the words that say why."""
    result = workflow("bad", 1)
    check_equal(result.states(), {"eats": "failed", "service-eats": "succeeded", "silent": "failed", "ends": "failed",
                                  "no-entrypoint": "failed", "no-program": "failed", "no-shell": "failed",
                                  "no-home": "failed"}, "states of the jobs")
    check_in(OUT_OF_MEMORY, step(result, "eats", "eats", "failed", exit=137, reason=OUT_OF_MEMORY), "a step")
    check_equal(result.log("eats", "lives"), "the environment lives\n", "after the OOM killer")
    eater = step(result, "service-eats", "Container cimg/redis:7.0 (eater)", "failed", signal=9, reason=OUT_OF_MEMORY)
    check(eater.endswith(f"\n\n{OUT_OF_MEMORY}\n"), "a service's log: " + eater)
    check_equal(result.log("service-eats", "feeds"), "the service is gone\n", "the job goes on")
    message = "Too long with no output (exceeded 1s): context deadline exceeded"
    check_equal(step(result, "silent", "silent", "failed", reason=message), f"first\n\n{message}\n", "silence")
    kept = ("it is kept (by the config, or by the image's label com.circleci.preserve-entrypoint), and so must run "
            "until the job ends")
    reason = f"the entrypoint of the primary container ended with exit status 7; {kept}"
    step(result, "ends", "long", "failed", reason=reason)
    check_equal(result.job("ends")["reason"], reason, "the job's reason")
    check_equal(step(result, "ends", "Container alpine:latest", "failed", exit=7),
                "only this\n\nended with exit status 7\n", "its log")
    correct = "correct `entrypoint` and `command` of the first docker entry"
    check_equal(result.job("no-entrypoint")["reason"], "the entrypoint of the primary container could not be started: "
                f"no such file: /no/such; {correct}", "a missing entrypoint")
    check_equal(result.job("no-program")["reason"], "the entrypoint of the primary container could not be started: "
                f"cannot run /app/text: Exec format error; {correct}", "no program")
    step(result, "no-shell", "shell", "failed",
         reason="The command could not be started: there is no shell here, neither /bin/bash nor /bin/sh; use an image "
         "that has one, or name a program of the image in the step's `shell`")
    check_equal(result.job("no-home")["reason"],
                "the working directory /project cannot be made: cannot make the folder /project: Permission denied; "
                "set `working_directory` to a folder that user 4242 may write to", "no home")


def check_refused():
    """Containers that cannot be made or started: the environment fails, and says what to correct."""
    result = workflow("refused", 3)
    correct = "correct `entrypoint` or `command` of this docker entry"
    distroless = "image docker.io/tenon-test/distroless:1: its program"
    wanted = {
        "service-missing-program": f'docker entry 3: {distroless} "/no/such" is not in the image, or the interpreter '
                                   f"that it names is not; {correct}",
        "service-forbidden-program": f'docker entry 2: {distroless} "/app/forbidden" may not be executed (is it a '
                                     f"folder, or has it no `x` permission?); {correct}",
        "service-not-in-path": f'docker entry 2: {distroless} "nosuch" is in no folder of the image\'s PATH; {correct}',
        "service-without-program": "docker entry 2: image docker.io/tenon-test/distroless:user: it names no program; "
                                   "give this docker entry an `entrypoint` or a `command`",
        "service-unknown-user": 'docker entry 2: image docker.io/library/alpine:latest: it has no user "somebody"; '
                                "correct `user` of this docker entry",
        "primary-unknown-user": 'docker entry 1: image docker.io/library/alpine:latest: it has no user "somebody"; '
                                "correct `user` of this docker entry",
    }
    for job, reason in wanted.items():
        check_equal(result.job(job)["reason"], reason, job)
    check_in("docker entry 3: image docker.io/nosuch/thing:1.2: ", result.job("service-missing-image")["reason"],
             "a missing image")
    redis = step(result, "service-missing-program", "Container cimg/redis:7.0", "succeeded")
    check_in("entrypoint of the redis image", redis, "what a service put out before another one failed")


def check_crash():
    """Executor and output die while a service talks: each of its lines is kept once, in order."""
    with tenon.Running(["run", "--workflow", "crash", "--json"], tenon.project(HERE), docker=HOST) as running:
        for beat, victim in enumerate(("tenon-executor-docker", "tenon-output", "tenon-executor-docker"), 1):
            running.wait_output(f"beat {beat}")
            os.kill(running.find(victim), signal.SIGKILL)
        running.wait_output('"name":"works","state":"succeeded"') # its services are being ended
        os.kill(running.find("tenon-executor-docker"), signal.SIGKILL)
        result = running.wait(90).expect(0)
    tenon.check_nothing_left(HOST)
    lines = step(result, "chatty", "Container alpine:latest (talker)", "succeeded").splitlines()
    check(len(lines) > 1000, f"only {len(lines)} lines")
    check_equal(lines, [f"line {i}" for i in range(len(lines))], "the lines of a service")
    check_equal(result.log("chatty", "works"), "".join(f"beat {i}\n" for i in range(1, 7)), "the step's log")


def check_read_only():
    """The operator makes root file systems read-only."""
    settings = os.path.join(os.environ.get("TMPDIR", "/tmp"), "tenon.yaml")
    tenon.write(settings, "docker:\n  read_only: yes\n  ramdisk: 64MB\n")
    result = workflow("sealed", 1, "--settings", settings)
    seen = result.log("read-only", "see")
    check_equal(re.findall("touch: .*", seen), ["touch: cannot touch '/etc/here': Read-only file system"], "writing")
    check_in("62M", seen, "the operator's size of /mnt/ramdisk")
    check_equal(result.job("read-only-home")["reason"],
                "the working directory /work cannot be made: cannot make the folder /work: Read-only file system; set "
                "`working_directory` to a folder that user 0 may write to", "a working directory there")


def check_background(docker, *options):
    """Background processes end with the job; that one of them fails does not fail it."""
    result = workflow("background", 0, *options, docker=docker)
    check_equal(result.states(), {"daemons": "succeeded"}, "state")
    gone = procs.wait_for(lambda: not [pid for pid in procs.all_pids() if "tenon-witness" in procs.command(pid)], 5)
    check(gone, "background processes outlive their job")


check_good()
check_bad()
check_refused()
check_crash()
check_read_only()
check_background(HOST)
check_background(None, "--executor", "docker=machine")
