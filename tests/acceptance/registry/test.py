#!/usr/bin/env python3
# deadline: 200
"""Images of registries: passwords of the config and of the operator, digests, other names for images, mirrors, registries
that limit or fail for a moment or for good, tokens of AWS, and a tag that moves."""

import contextlib
import glob
import json
import os
import signal
import tempfile

import registry
from ecr import Ecr
from tenon import Running, check, check_equal, check_in, check_nothing_left, docker_host, engine, project, run, skip, write

HOST = docker_host()
if registry.programs_missing():
    skip("Debian packages are missing: " + ", ".join(registry.programs_missing()))
AWS = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
AUTH = f"auth: {{username: {registry.USER}, password: $REGISTRY_PASSWORD}}"
ATTEMPTS = 3
folder = tempfile.mkdtemp(prefix="registry-test.")
state = tempfile.mkdtemp(prefix="x.")


def config(jobs):
    """A config of jobs {name: (entry of `docker`, …)}, each with one step that says who it is."""
    text = "version: 2.1\njobs:\n"
    for name, entries in jobs.items():
        text += f"  {name}:\n    resource_class: small\n    docker:\n" + "".join(f"      - {{{entry}}}\n" for entry in entries)
        text += "    steps:\n      - run: {name: say, command: 'cat /etc/which'}\n"
    return text + "workflows:\n  w:\n    jobs:\n" + "".join(f"      - {name}: {{context: reg}}\n" for name in jobs)


def arguments(settings):
    """Of `tenon run` with these settings and the context of all jobs."""
    path = write(folder + "/tenon.yaml", json.dumps(settings))
    context = write(folder + "/reg.env", f"REGISTRY_PASSWORD={registry.PASSWORD}\nAWS_SECRET='{SECRET}'\nEMPTY=\n")
    return ["run", "--json", "--settings", path, "--context", f"reg={context}"]


def go(jobs, settings, code):
    """Runs them with these settings; the result, which must have this status."""
    return run(arguments(settings), project(config=config(jobs)), docker=HOST, env={"XDG_STATE_HOME": state}).expect(code)


def forget(*hosts):
    """Removes from the engine the images of these registries."""
    for image in engine().call("GET", "/images/json", query={"all": "1"}):
        names = (image["RepoTags"] or []) + (image["RepoDigests"] or [])
        if any(name.startswith(hosts) for name in names):
            engine().call("DELETE", "/images/" + image["Id"], query={"force": "1"})


def later_records(state, seconds):
    """As if a clock that was ahead by these seconds had written what is remembered of images."""
    records = glob.glob(f"{state}/**/docker/images/*/*", recursive=True)
    check(records, "no records of images")
    for path in records:
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
        write(path, json.dumps(record | {key: str(int(record[key]) + seconds) for key in ("checked", "used")}))


def made(shell, which):
    """The layers of an image whose file /etc/which says `which`."""
    return [shell, registry.layer({"etc/which": which.encode() + b"\n", "salt": os.urandom(16)})]


def failures(wrong, settings):
    """Jobs that must fail, {name: (entry, part of the reason)}: each does, in the environment, with exactly that."""
    result = go({name: (entry,) for name, (entry, _) in wrong.items()}, settings, 3)
    for name, (_, reason) in wrong.items():
        check_equal(result.job(name)["state"], "infrastructure_failure", f"state of {name}")
        check_in("docker entry 1: " + reason, result.job(name)["reason"], f"reason of {name}")
        check(registry.PASSWORD not in result.job_log(name) and "nonsense" not in result.job_log(name),
              f"{name}: a password is in the log")
    return result


def successes(right, settings):
    """Jobs that must succeed, {name: (entry, output, *parts of the log)}."""
    result = go({name: (entry,) for name, (entry, *_) in right.items()}, settings, 0)
    for name, (_, output, *parts) in right.items():
        check_equal(result.log(name, "say"), output + "\n", f"output of {name}")
        check_equal(result.job(name)["tasks"][0]["attempt"], 1, f"attempts of {name}: {result}")
        for part in parts:
            check_in(part, result.log(name, "Spin up environment"), f"log of {name}")
    return result


with contextlib.ExitStack() as stack:
    private = stack.enter_context(registry.Registry())
    mirror = stack.enter_context(registry.Registry(password=False))
    proxy = stack.enter_context(registry.FaultProxy(private))
    aws = stack.enter_context(Ecr({"AKIDEXAMPLE": SECRET}, f"{registry.USER}:{registry.PASSWORD}", "eu-central-1"))
    stack.callback(forget, private.host, mirror.host, proxy.host)
    shell = registry.shell_layer(os.environ["TENON_TEST_BUSYBOX"])
    made_of = {}
    one = private.push("team/app", "1", made(shell, "one"))
    two = private.push("team/app", "2", made(shell, "two"))
    private.push("team/slow", "1", [*made(shell, "slow"), registry.layer({"data": os.urandom(4000000)})])
    for name in ("solo", "limited", "flaky", "operator", "aws"):
        made_of[name] = private.push("team/" + name, "1", made(shell, name))
    mirror.push("library/hello", "1", made(shell, "mirrored"))
    password = write(folder + "/password", registry.PASSWORD + "\n")
    settings = {"docker": {
        "pull_attempts": ATTEMPTS, "mirrors": [mirror.host], "ecr_endpoint": aws.url,
        "registries": [{"host": proxy.host, "username": registry.USER, "password_file": password}],
        "images": [
            {"image": "legacy/thing:9", "use": private.host + "/team/app:1"},
            {"prefix": "corp.example/", "use": private.host + "/team/"},
            {"pattern": "(.*)/(\\w+)-old:(\\d+)", "use": private.host + "/$1/\\2:$3"},
            {"image": "bad/name:1", "use": "Not An Image"},
            {"prefix": AWS + "/", "use": private.host + "/"},
        ]}}

    # ---- what works ----
    proxy.faults = {"team/limited": [(429, "TOOMANYREQUESTS", "slow down, retry-after: 1.5s")] * 2,
                    "team/flaky": [(503, "UNAVAILABLE", "down")] * 2 + ["drop"]}
    aws.failures = 1
    proxy.slow["team/slow"] = 7
    app = private.host + "/team/app"
    successes({
        "tag": (f"image: '{private.host}/team/solo:1', {AUTH}", "solo",
                f"Pulling image {private.host}/team/solo:1 as user \"ci-user\" (`auth` in the config)\n",
                f"Pulled image {private.host}/team/solo:1 in ", " s: 2 layers, ",
                f"Using image {private.host}/team/solo:1@{made_of['solo']}\n"),
        "digest": (f"image: '{app}@{two}', {AUTH}", "two", f"Using image {app}@{two}\n"),
        "both": (f"image: '{app}:1@{one}', {AUTH}", "one", f"Using image {app}:1@{one}\n"),
        "operator": (f"image: '{proxy.host}/team/operator:1'", "operator",
                     "as user \"ci-user\" (docker.registries in tenon.yaml)\n"),
        "exact": (f"image: 'legacy/thing:9', {AUTH}", "one",
                  f"Image legacy/thing:9: {app}:1 is used for it (docker.images in tenon.yaml, entry 1)\n"),
        "prefix": (f"image: 'corp.example/app:2', {AUTH}", "two", f"{app}:2 is used for it (docker.images in tenon.yaml, "
                   "entry 2)\n", f"Using image {app}:2@{two}\n"),
        "pattern": (f"image: 'team/app-old:1', {AUTH}", "one", f"{app}:1 is used for it", "entry 3)\n"),
        "mirrored": ("image: 'hello:1'", "mirrored", f"Pulling image {mirror.host}/library/hello:1\n"),
        "limited": (f"image: '{proxy.host}/team/limited:1'", "limited",
                    f"Attempt 1 of 3 failed: image {proxy.host}/team/limited:1: registry {proxy.host} limits the rate of "
                    "pulls: toomanyrequests: slow down, retry-after: 1.5s; use a mirror (docker.mirrors in tenon.yaml); "
                    "the next one follows in 1.5 s\n"),
        "flaky": (f"image: '{proxy.host}/team/flaky:1'", "flaky",
                  f"Attempt 1 of 3 failed: image {proxy.host}/team/flaky:1: registry {proxy.host} failed: received "
                  "unexpected HTTP status: 503 Service Unavailable; the next one follows in 1.",
                  f"Attempt 2 of 3 failed: image {proxy.host}/team/flaky:1: registry {proxy.host} failed: Head "),
        "slow": (f"image: '{proxy.host}/team/slow:1'", "slow", f"Pulling image {proxy.host}/team/slow:1: ", " of 3 layers, ",
                 " MB, 0.", " MB/s\n", " s: 3 layers, "),
        "aws": (f"image: '{AWS}/team/aws:1', aws_auth: {{aws_access_key_id: AKIDEXAMPLE, aws_secret_access_key: "
                "$AWS_SECRET}", "aws", f"Attempt 1 of 3 failed: AWS at {aws.url} failed: HTTP 503: ServerException: try",
                "as user \"ci-user\" (`aws_auth` in the config)\n"),
    }, settings)
    check_equal(aws.refused, [], "signatures that were not believed")
    check_nothing_left(HOST)

    # ---- interrupted while it waits for a registry: the next life begins anew, a cancelled one leaves nothing ----
    proxy.faults = {"team/again": [(429, "TOOMANYREQUESTS", "slow down")] * 2}
    private.push("team/again", "1", made(shell, "again"))
    again = config({"again": (f"image: '{proxy.host}/team/again:1'",)})
    with Running(arguments(settings), project(config=again), docker=HOST, env={"XDG_STATE_HOME": state}) as running:
        running.wait_output("Attempt 1 of 3 failed: ")
        os.kill(running.find("tenon-executor-docker"), signal.SIGKILL)
        check_equal(running.wait(60).expect(0).log("again", "say"), "again\n", "after a crash of the executor")
    proxy.faults = {"team/never": [(429, "TOOMANYREQUESTS", "slow down, retry-after: 1h")] * 2}
    never = config({"never": (f"image: '{proxy.host}/team/never:1'",)})
    with Running(arguments(settings), project(config=never), docker=HOST, env={"XDG_STATE_HOME": state}) as running:
        running.wait_output("the next one follows in 600.0 s")
        running.signal(signal.SIGINT)
        running.wait(60).expect(130)
    check_nothing_left(HOST)

    # ---- what cannot work ----
    private.push("team/other", "1", made(shell, "other"))
    other = private.host + "/team/other"
    keys = "aws_auth: {aws_access_key_id: AKIDEXAMPLE, aws_secret_access_key: nonsense}"
    result = failures({
        "wrong": (f"image: '{other}:1', auth: {{username: ci-user, password: nonsense}}",
                  f"image {other}:1: registry {private.host} refuses user \"ci-user\" (`auth` in the config): unauthorized: "
                  "authentication required; check the name, the password and that this user may read the repository"),
        "present": (f"image: '{app}:1', auth: {{username: ci-user, password: nonsense}}", f"image {app}:1: registry "
                    f"{private.host} refuses user \"ci-user\" (`auth` in the config): "),
        "none": (f"image: '{other}:1'", f"image {other}:1: registry {private.host} wants credentials, or has no such "
                 "repository: "),
        "tag": (f"image: '{other}:nope', {AUTH}", f"image {other}:nope: registry {private.host} has no such image: manifest "
                f"for {other}:nope not found: manifest unknown: manifest unknown; check the repository's name and its tag"),
        "repository": (f"image: '{private.host}/no/such:1', {AUTH}", f"image {private.host}/no/such:1: registry "
                       f"{private.host} has no such image: "),
        "digest": (f"image: '{other}@sha256:{'0' * 64}', {AUTH}", f"image {other}@sha256:{'0' * 64}: registry "
                   f"{private.host} has no such image: "),
        "undefined": (f"image: '{other}:1', auth: {{username: ci-user, password: $NO_SUCH}}",
                      f"image {other}:1: `auth`: `password` is the variable NO_SUCH, which is not defined in the job's "
                      "contexts and in the project's variables; define it there, or correct the name"),
        "empty": (f"image: '{other}:1', auth: {{username: '${{EMPTY}}', password: x}}",
                  f"image {other}:1: `auth`: `username` is the variable EMPTY, which is empty in the job's contexts"),
        "nohost": ("image: 'nosuch.invalid/x:1'", "image nosuch.invalid/x:1: the engine's host finds no registry "
                   "nosuch.invalid: "),
        "refused": ("image: '127.0.0.1:1/x:1'", "image 127.0.0.1:1/x:1: the engine does not reach registry 127.0.0.1:1: "),
        "map": ("image: 'bad/name:1'", "docker.images, entry 4, stands for image \"bad/name:1\": image \"Not An Image\": "),
        "keys": (f"image: '{AWS}/team/other:1', {keys}", f"AWS at {aws.url} refuses the keys of `aws_auth`: HTTP 400: "
                 "InvalidSignatureException: it is not believed; check aws_access_key_id and aws_secret_access_key, and "
                 "that they allow ecr:GetAuthorizationToken"),
        "notaws": (f"image: '{other}:1', {keys}", f"image {other}:1: `aws_auth` is for registries "
                   f"ACCOUNT.dkr.ecr.REGION.amazonaws.com, and this is {private.host}; give `auth`"),
        "role": (f"image: '{AWS}/x:1', aws_auth: {{oidc_role_arn: 'arn:aws:iam::1:role/x'}}", f"image {private.host}/x:1: "
                 "`aws_auth` names a role (`oidc_role_arn`), which needs an identity token that AWS trusts, and this "
                 "installation issues none; give "),
        "mirror": ("image: 'not-mirrored:1'", "image docker.io/library/not-mirrored:1: "),
    }, settings)
    check_in("; all attempts failed", result.job("refused")["reason"], "it was tried again")
    check_in("Attempt 2 of 3 failed: ", result.job_log("refused"), "it was tried again")
    check("Attempt 1" not in result.job_log("wrong") + result.job_log("tag"), "what is final was tried again")
    check_in(f"Mirror {mirror.host} is of no use: image {mirror.host}/library/not-mirrored:1: registry {mirror.host} has no "
             "such image: ", result.job_log("mirror"), "why the mirror was left")
    check_equal(aws.refused, ["InvalidSignatureException"], "what AWS refused")
    check_nothing_left(HOST)

    # ---- a tag that moves, and a registry that is gone ----
    three = private.push("team/app", "1", made(shell, "three"))
    proxy.seen.clear()
    successes({"moved": (f"image: '{app}:1', {AUTH}", "three", f"Pulled image {app}:1 in ", f"Using image {app}:1@{three}\n"),
               "same": (f"image: '{proxy.host}/team/operator:1'", "operator",
                        f"Image {proxy.host}/team/operator:1 is up to date\n")}, settings)
    check("/v2/team/operator/manifests/1" in proxy.seen, "a tag is asked for again")
    private.stop()
    later_records(state, 3600)
    gone = f"Using image {app}:1@{three}\n"
    successes({"gone": (f"image: '{app}:1', {AUTH}", "three", "It could not be asked whether there is a newer image: image "
                        f"{app}:1: the engine does not reach registry {private.host}: ", "The one that is here is used\n", gone),
               "named": (f"image: '{app}@{three}'", "three", f"Using image {app}@{three}\n")}, settings)
    later_records(state, -3600)
    settings["docker"]["refresh_after"] = "1h"
    result = successes({"fresh": (f"image: '{app}:1', {AUTH}", "three", gone)}, settings)
    check_equal(result.log("fresh", "Spin up environment").count("registry"), 0, "words about a registry")
    check_nothing_left(HOST)
