# deadline: 300
"""`checkout` from a remote, on this host and in containers, against real servers: git daemon, git http-backend with a
password, sshd with a key; `add_ssh_keys`; and everything that can be wrong, in exact words."""

import os
import subprocess
import sys
import tempfile

import gitserver
import procs
import tenon
from tenon import check, check_equal, check_in

HERE = os.path.dirname(os.path.abspath(__file__))
TOKEN = "t0ken-of-the-test-%d" % os.getpid()
ON_HOST = ["--executor", "docker=machine"]


def make_repository():
    """Two commits on main, a branch, a tag, a pull request with its merge."""
    repository = gitserver.Repository()
    repository.one = repository.commit("one", file="one\n")
    tenon.write(os.path.join(repository.work, ".gitmodules"),
                '[submodule "module"]\n\tpath = module\n\turl = https://example.invalid/module.git\n')
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{repository.one},module")
    os.makedirs(os.path.join(repository.work, "module"), exist_ok=True)
    repository.git("add", ".gitmodules")
    repository.two = repository.commit("two", file="two\n")
    repository.git("tag", "v1", repository.one)
    repository.git("tag", "--annotate", "--message", "second", "v2", repository.two)
    repository.git("checkout", "--quiet", "-b", "topic")
    repository.topic = repository.commit("topic", topic="topic\n")
    repository.git("update-ref", "refs/pull/7/head", repository.topic)
    repository.git("checkout", "--quiet", "--detach", repository.two)
    repository.git("merge", "--quiet", "--no-ff", "--message", "merged", repository.topic)
    repository.merged = repository.revision("HEAD")
    repository.git("update-ref", "refs/pull/7/merge", repository.merged)
    repository.git("checkout", "--quiet", "main")
    repository.publish()
    return repository


class Runs:
    """`tenon run --repository` of the project beside this file, in one kind of environment."""

    def __init__(self, docker, options):
        self.docker, self.options = docker, options
        self.folder = tenon.project(HERE)

    def arguments(self, server, workflow, *more, settings=None, show=""):
        """The command line."""
        words = ["run", "--json", "--workflow", workflow, "-p", f"port={server.port}", "-p", f"print={show or 'true'}",
                 *self.options, "--repository", server.url, *more]
        if settings is not None:
            path = os.path.join(tempfile.mkdtemp(prefix="s."), "tenon.yaml")
            words += ["--settings", tenon.write(path, settings)]
        return words

    def run(self, server, workflow, *more, into=None, **options):
        """Runs it to its end. `into`: ports that its containers are to reach."""
        words = self.arguments(server, workflow, *more, **options)
        if self.docker is None:
            return tenon.run(words, self.folder)
        with gitserver.IntoContainers(tenon.engine(), into or [server.port]):
            return tenon.run(words, self.folder, self.docker)

    def fails(self, server, *more, step="Checkout code", reason="", **options):
        """Runs a job that fails in its checkout with exactly this reason."""
        workflow = options.pop("workflow", "ref")
        result = self.run(server, workflow, *more, **options).expect(1)
        steps = result.steps(workflow if workflow != "bad" else "other-folder")
        check_equal(steps[step]["state"], "failed", f"state of {step}")
        check_equal(steps[step].get("reason"), reason, f"reason of {step}")
        check_in(reason + "\n", result.log(workflow if workflow != "bad" else "other-folder", step), "the log")
        return result


def secret_file(text, mode=0o600):
    """A file as settings name it."""
    path = tenon.write(os.path.join(tempfile.mkdtemp(prefix="k."), "secret"), text)
    os.chmod(path, mode)
    return path


def check_nowhere(result, secret):
    """What a run leaves of its own (logs, records, the store) has no secret in it."""
    state = os.path.dirname(os.path.dirname(result.summary["folder"]))
    check(os.path.basename(state) == "tenon", state)
    for name in tenon.files_below(state):
        with open(os.path.join(state, name), "rb") as file:
            check(secret.encode() not in file.read(), f"{name} holds the secret")


def check_plain(runs, repository):
    """Without any secret, over git://"""
    with gitserver.git_daemon(repository) as server:
        result = runs.run(server, "good").expect(0)
        check_equal(result.states(), dict.fromkeys(("default", "full", "path", "again"), "succeeded"), "states")
        log = result.log("default", "Checkout code")
        for line in ("git version ", "Cloning git repository\n", "Checking out branch\n", "HEAD is now at "):
            check_in(line, log, "the log of a checkout")
        check_in("Cloning git repository\n", result.log("full", "Everything"), "its name")
        check_in("Fetching into existing repository\n", result.job_log("again"), "the second checkout")
        home = "/home/circleci" if runs.docker else None
        result = runs.run(server, "bad").expect(1)
        reason = result.steps("other-folder")["Checkout code"]["reason"]
        check(reason.endswith("/project) you are trying to checkout to is not empty and not a git repository"), reason)
        check(reason.startswith(f"Directory ({home or '/'}"), reason)
        check_equal(result.steps("other-folder")["it is still there"]["state"], "succeeded", "what was there")
        check("must not run" not in result.job_log("other-folder"), "the job went on")

        references = (
                (["--tag", "v1"], [f"HEAD HEAD {repository.one}", f"CIRCLE_SHA1={repository.one}", "CIRCLE_TAG=v1"]),
                (["--tag", "v2"], [f"HEAD HEAD {repository.two}", f"CIRCLE_SHA1={repository.two}", "CIRCLE_TAG=v2"]),
                (["--branch", "topic", "--revision", repository.two.upper()],
                 [f"HEAD topic {repository.two}", "CIRCLE_BRANCH=topic", f"CIRCLE_SHA1={repository.two}"]),
                (["--pull-request", "7"],
                 [f"HEAD pull/7 {repository.topic}", "CIRCLE_BRANCH=pull/7", "CIRCLE_PR_NUMBER=7",
                  "CIRCLE_PULL_REQUEST=https://127.0.0.1/team/app/pull/7",
                  "CIRCLE_PULL_REQUESTS=https://127.0.0.1/team/app/pull/7", f"CIRCLE_SHA1={repository.topic}"]),
                (["--pull-request", "7/merge"],
                 [f"HEAD pull/7/merge {repository.merged}", "CIRCLE_BRANCH=pull/7/merge", "CIRCLE_PR_NUMBER=7",
                  "CIRCLE_PULL_REQUEST=https://127.0.0.1/team/app/pull/7",
                  "CIRCLE_PULL_REQUESTS=https://127.0.0.1/team/app/pull/7", f"CIRCLE_SHA1={repository.merged}"]))
        for options, lines in references if runs.docker is None else references[1:2]:
            result = runs.run(server, "ref", *options).expect(0)
            check_equal(result.log("ref", "ref").splitlines(), lines, f"what a job sees with {options}")
        if runs.docker is None:
            nowhere = "0123456789abcdef0123456789abcdef01234567"
            runs.fails(server, "--branch", "main", "--revision", nowhere,
                       reason=f"{server.url} has no revision {nowhere}")
            runs.fails(server, "--tag", "v9", "--revision", repository.one, reason=f"{server.url} has no refs/tags/v9")
    if runs.docker:
        runs.fails(server, "--branch", "main", "--revision", repository.one, workflow="no-git",
                   reason="there is no git in the environment, and checkout from a remote needs it: take an image that "
                          "has git")


def check_token(runs, repository):
    """A token over HTTP: used by the checkout and by later steps, seen by nobody."""
    with gitserver.Http(repository, "robot", TOKEN) as server, gitserver.Secrets(TOKEN) as secrets:
        settings = "checkout: {tokens: [{host: '127.0.0.1:%d', username: %s, file: %s}]}\n"
        good = settings % (server.port, "robot", secret_file(TOKEN + "\n"))
        show = (f"printf 'protocol=http\\nhost=127.0.0.1:{server.port}\\n\\n' | git credential fill | sed s/^/got./; "
                "git config --list | grep -c helper")
        server.failures = 1  # the command's own question is answered by nobody: it is not asked
        result = runs.run(server, "later", "--branch", "main", "--revision", repository.two, settings=good,
                          show=show).expect(0)
        log = result.log("later", "Checkout code")
        check_in("The remote cannot be reached: try 2 of 3 in 1s\n", log, "a server that is down for a moment")
        check_in("got.password=****", result.log("later", "secrets"), "a later step gets the token, and it is masked")
        check(TOKEN not in result.out + result.err + result.job_log("later"), "the token is in the output")
        check_nowhere(result, TOKEN)
        secrets.check()
        if runs.docker: # the rest is the same script
            return
        result = runs.run(server, "ref", settings=good).expect(0)
        check_in(f"HEAD main {repository.two}\n", result.log("ref", "ref"), "the command asked with the token, too")

        at = f"127.0.0.1:{server.port}"
        wanted = ["--branch", "main", "--revision", repository.two]
        wrong = secret_file("wrong-token-of-the-test")
        runs.fails(server, *wanted, settings=settings % (server.port, "robot", wrong),
                   reason=f"{at} does not accept the user robot and the token of `checkout.tokens` ({wrong})")
        runs.fails(server, *wanted,
                   reason=f"{at} does not let everybody in, and `checkout.tokens` of tenon.yaml has no token for it")
        loose = secret_file(TOKEN, 0o644)
        runs.fails(server, *wanted, settings=settings % (server.port, "robot", loose),
                   reason=f"the token for {at}: {loose} is open to others (mode 0644), so it is not used; close it with "
                          f"`chmod 600 {loose}`")
        server.failures = 100
        runs.fails(server, *wanted, settings=good, reason=f"{at} cannot be reached, tried 3 times")
        server.failures = 0
        secrets.check()


def check_ssh(runs, repository):
    """A key over SSH, known and unknown hosts, and keys by their fingerprints."""
    folder = tempfile.mkdtemp(prefix="keys.")
    key, other = os.path.join(folder, "key"), os.path.join(folder, "other")
    public = [gitserver.make_key(key)]
    gitserver.make_key(other, "rsa", "-b", "2048", "-m", "PEM")
    gitserver.make_key(other + "2", "ecdsa", "-b", "256", "-m", "PEM")
    body = tenon.read(key).split("\n")[1]
    md5, sha256 = (tenon_fingerprint(key, kind) for kind in ("md5", "sha256"))
    other_md5 = tenon_fingerprint(other, "md5")
    with gitserver.Sshd(repository, public) as server, gitserver.Secrets(body) as secrets:
        at = f"127.0.0.1:{server.port}"
        known = tenon.write(os.path.join(folder, "known_hosts"), server.known)
        settings = "checkout: {keys: [{host: 127.0.0.1, file: %s}], known_hosts: %s}\n"
        result = runs.run(server, "later", settings=settings % (key, known), show="cat ~/.ssh/id_rsa").expect(0)
        log = result.log("later", "Checkout code")
        check_in(f"SSH key for 127.0.0.1: {sha256}\n", log, "which key it is")
        check_in("-----BEGIN OPENSSH PRIVATE KEY-----\n****\n", result.log("later", "secrets"), "the key is masked")
        check(body not in result.out + result.err + result.job_log("later"), "the key is in the output")
        check_nowhere(result, body)
        check_in(f"v1-{sha256}", result.log("later", "Saving cache"), "{{ .CheckoutKey }}")

        wanted = ["--branch", "main", "--revision", repository.two]
        runs.fails(server, *wanted, settings=settings % (key, "''"),
                   reason=f"the host key of {at} is not known: put it into the file that `checkout.known_hosts` of "
                          "tenon.yaml names (ssh-keyscan prints it)")
        runs.fails(server, *wanted, settings=settings % (other, known),
                   reason=f"{at} does not accept the SSH key {tenon_fingerprint(other, 'sha256')} of `checkout.keys` "
                          f"({other})")
        secrets.check()
        check_keys(runs, server, key, other, known, (md5, sha256, other_md5))
        if runs.docker:
            return
        os.chmod(key, 0o640)
        runs.fails(server, *wanted, settings=settings % (key, known),
                   reason=f"the SSH key for 127.0.0.1: {key} is open to others (mode 0640), so it is not used; close it "
                          f"with `chmod 600 {key}`")
        os.chmod(key, 0o600)
        changed = tenon.write(os.path.join(folder, "changed"), server.known.replace(
            server.known.split()[2], tenon.read(key + ".pub").split()[1]))
        runs.fails(server, *wanted, settings=settings % (key, changed),
                   reason=f"{at} has another host key than the known one: somebody may sit in between; if it was changed "
                          "on purpose, change `checkout.known_hosts`")


def check_keys(runs, server, key, other, known, names):
    """add_ssh_keys with and without fingerprints."""
    md5, sha256, other_md5 = names
    settings = ("checkout: {keys: [{host: 127.0.0.1, file: %s}, {host: '*', file: %s}, {host: example.invalid, file: %s}], "
                "known_hosts: %s}\n" % (key, other, other + "2", known))
    show = f"ssh -p {server.port} {server.url.split('//')[1].split('@')[0]}@127.0.0.1 echo reached"
    result = runs.run(server, "keys", "--branch", "main", "--revision", "0" * 40, settings=settings, show=show).expect(0)
    text = result.log("keys", "ssh")
    for line in ("Host 127.0.0.1\n  IdentitiesOnly yes\n", f"/.ssh/id_rsa_{md5.replace(':', '')}\"\n",
                 "Host *\n  IdentitiesOnly no\n", f"/.ssh/id_rsa_{other_md5.replace(':', '')}\"\n", "reached\n"):
        check_in(line, text, "the config of ssh, and that it works")
    for path, host in ((key, "127.0.0.1"), (other, "*"), (other + "2", "example.invalid")):
        line = f"Installed the SSH key {tenon_fingerprint(path, 'md5')} ({tenon_fingerprint(path, 'sha256')}) for host {host} "
        check_in(line, result.job_log("keys"), "what was added, as ssh-keygen names it")
    for fingerprint, count in ((md5, 1), (sha256, 1), ("aa:bb", 0)) if runs.docker is None else ():
        folder = tenon.project(HERE)
        path = os.path.join(folder, ".circleci", "config.yml")
        tenon.write(path, tenon.read(path).replace("jobs: [keys]", f'jobs: [keys: {{fingerprint: "{fingerprint}"}}]'))
        runs.folder, before = folder, runs.folder
        result = runs.run(server, "keys", "--branch", "main", "--revision", "0" * 40, settings=settings,
                          show="ls ~/.ssh/id_rsa_* | wc -l | sed s/^/keys:/").expect(0 if count else 1)
        runs.folder = before
        if count:
            check_in("keys:1\n", result.log("keys", "ssh"), "only the named key")
        else:
            step = result.steps("keys")["Installing additional ssh keys"]
            check_equal(step["reason"],
                        f"no SSH key with the fingerprint aa:bb is in `checkout.keys` of tenon.yaml; known are: {md5} or "
                        f"{sha256} for 127.0.0.1, {other_md5} or {tenon_fingerprint(other, 'sha256')} for *, "
                        f"{tenon_fingerprint(other + '2', 'md5')} or {tenon_fingerprint(other + '2', 'sha256')} for "
                        "example.invalid", "unknown")


def tenon_fingerprint(path, kind):
    """What ssh-keygen says."""
    text = subprocess.run(["ssh-keygen", "-l", "-E", kind, "-f", path + ".pub"], check=True, text=True,
                          stdout=subprocess.PIPE).stdout.split()[1]
    return text[len("MD5:"):] if kind == "md5" else text


def check_crash(runs, repository, victim):
    """A process of ours dies while git clones: git goes on, and is not started twice."""
    with gitserver.Http(repository) as server:
        server.gate.clear()
        words = runs.arguments(server, "ref", "--branch", "main", "--revision", repository.two)
        with tenon.Running(words, runs.folder) as running:
            check(server.waiting.wait(60), "git does not clone")
            before = running.find(victim)
            procs.kill(before)
            check(procs.wait_for(lambda: any(pid != before for pid in running.started_processes()
                                             if procs.program(pid) == victim), 30), f"no new {victim}")
            asked = server.requests
            server.gate.set()
            result = running.wait().expect(0)
        log = result.log("ref", "Checkout code")
        check_equal(log.count("Cloning git repository\n"), 1, "clones")
        check_equal(log.count("HEAD is now at "), 1, "ends")
        check(asked <= 3, f"{asked} requests before the gate was opened")


def check_command(repository):
    """What the command itself refuses."""
    folder = tenon.project(HERE)
    with gitserver.git_daemon(repository) as server:
        for options, text, code in (
                (["--branch", "nope"], f"--branch nope: {server.url} has no such branch", 2),
                (["--tag", "nope"], f"--tag nope: {server.url} has no such tag", 2),
                (["--pull-request", "8"], f"--pull-request 8: {server.url} has no such pull request", 2)):
            result = tenon.run(["run", "--repository", server.url, *options], folder).expect(code)
            check_equal(result.err, f"tenon: {text}\n", f"{options}")
    result = tenon.run(["run", "--repository", server.url], folder).expect(3)
    check_in(f"tenon: --repository {server.url}: git cannot ask which revision is wanted (name it with --revision, and "
             "its branch or tag):\n", result.err, "a server that is not there")
    check_in("Connection refused", result.err, "what git says")


repo = make_repository()
check_command(repo)
places = {"host": lambda: Runs(None, ON_HOST), "docker": lambda: Runs(tenon.docker_host(), [])}
for place in sys.argv[1:] or places: # by hand one of them can be named
    where = places[place]()
    check_plain(where, repo)
    check_token(where, repo)
    check_ssh(where, repo)
    tenon.check_nothing_left(where.docker)
for name in ("tenon-executor-machine", "tenon-output", "tenon-bus"):
    check_crash(Runs(None, ON_HOST), repo, name)
tenon.check_nothing_left()
