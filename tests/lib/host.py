"""What the tests of the host driver share: a project whose jobs leave everything behind that can be left, and runs of it
under one enclosure and one user."""

import glob
import os
import signal

import procs
import tenon
from tenon import check, check_equal, check_in

ROOT = os.geteuid() == 0
TOKEN = f"8{os.getpid():07d}"  # seconds that these sleeps would take: found in their command lines
FOLDER = os.environ["TENON_TEST_FOLDER"]
OUTSIDE = os.path.join(FOLDER, "outside")
SETTINGS = os.path.join(FOLDER, "settings")
SAYS = {"cgroup": "Kept together by a control group", "namespace": "Kept together by a process id namespace",
        "group": "Kept together by its process group and descent alone"}

# Daemons of all kinds, each with a number of its own.
ESCAPE = f"""
            (setsid sh -c '(setsid sleep {TOKEN}01 &) ; exec sleep {TOKEN}02' &)
            nohup sleep {TOKEN}03 >/dev/null 2>&1 &
            setsid sh -c 'trap "" TERM HUP INT; sleep {TOKEN}04; sleep {TOKEN}05' &
            sleep {TOKEN}06 & kill -STOP $!
            python3 -c 'import os; os.daemon = os.fork() or os.setsid() or os.fork() or os.execlp("sleep", "sleep", "{TOKEN}07")'
            unshare -Urpf sleep {TOKEN}08 2>/dev/null &
            perl -e '$SIG{{TERM}} = "IGNORE"; for (1 .. 40) {{ exit if fork; setpgrp }} exec "sleep", "{TOKEN}09"' &
"""
# Without its mark and without parents it is not found when tenond and the agent were killed and there was no group.
CLEARED = f"            env -i setsid sleep {TOKEN}10 &\n"
TREE = """
            mkdir -p ro/a/b && touch ro/a/b/c && ln -s "$OUTSIDE" ro/a/outside && chmod -R a-w ro
            python3 -c 'if True:
              import os
              os.mkdir("many")
              for i in range(3000): open(f"many/{i}", "w").close()
              for i in range(1000):
                  os.mkdir("folder")
                  os.chdir("folder")'
            touch "$HOME/open" && exec 9< "$HOME/open"
"""
AS_ROOT = """
            if [ "$(id -u)" = 0 ]; then
              touch kept && { chattr +i kept || true; }
              chown -R 1234:1234 many
              mkdir m
              # in this host's own mounts; a process id namespace does not see them
              [ ! -e /proc/PID/ns/mnt ] || nsenter --mount=/proc/PID/ns/mnt mount --bind "$OUTSIDE" "$PWD/m"
            fi
"""


def config(as_root):
    """The project's config."""
    more = AS_ROOT.replace("PID", str(os.getpid())) if as_root else ""
    return f"""version: 2.1
jobs:
  escapes:
    machine: true
    environment: {{OUTSIDE: {OUTSIDE}}}
    steps:
      - run:
          name: escape
          command: |{ESCAPE}{CLEARED}{TREE}{more}
            id -u; nice; echo "at $PWD"
  too-quiet:
    machine: true
    steps:
      - run:
          name: quiet
          no_output_timeout: 1s
          command: |{ESCAPE}{CLEARED}
            while :; do sleep {TOKEN}11; done
  waits:
    machine: true
    steps:
      - run:
          name: wait
          command: |{ESCAPE}
            echo all-are-there; while :; do sleep {TOKEN}12; done
  nothing:
    machine: true
    steps: [run: "true"]
  limited:
    docker: [{{image: "cimg/base:2025.01"}}]
    resource_class: small
    steps:
      - run:
          name: threads
          command: |
            python3 -c 'if True:
              import threading
              threading.stack_size(32768)
              end = threading.Event()
              try:
                  for i in range(10000): threading.Thread(target=end.wait, daemon=True).start()
              except RuntimeError as error:
                  print(error, flush=True)
                  import os
                  os._exit(3)'
      - run:
          name: memory
          when: always
          command: python3 -c 'len(bytearray(2300 << 20))'
workflows:
  ends: {{jobs: [escapes, too-quiet]}}
  waits: {{jobs: [waits]}}
  nothing: {{jobs: [nothing]}}
  limited: {{jobs: [limited]}}
"""


def left():
    """Command lines of living processes of the jobs."""
    return [f"{pid} {procs.command(pid)}" for pid in procs.all_pids() if TOKEN in procs.command(pid) and procs.alive(pid)]


def check_gone(state, what):
    """No process, no job folder, no control group, no mount."""
    procs.wait_for(lambda: not left(), 5 * tenon.SLOW)
    check_equal(left(), [], f"{what}: processes left")
    check_equal(glob.glob(f"{state}/tenon/runs/*/machine/jobs/*"), [], f"{what}: job folders left")
    check_equal(glob.glob(f"{state}/tenon/store/control-groups/*"), [], f"{what}: notes of control groups left")
    names = {os.path.basename(run) for run in glob.glob(f"{state}/tenon/runs/*")}
    groups = [base for base, _, _ in os.walk("/sys/fs/cgroup")
              if os.path.basename(base).startswith("tenon-run-") and any(name in base for name in names)]
    check_equal(groups, [], f"{what}: control groups left")
    check_equal(procs.mounts_under(FOLDER), [], f"{what}: mounts left")
    check_equal(os.listdir(OUTSIDE), ["kept"], f"{what}: what lies outside")


class Host:
    """Runs as one user under one enclosure."""

    def __init__(self, enclosure, project, user=None, group=None):
        """`user`: (id, environment, command) of another user. `group`: a control group that is delegated to it."""
        self.enclosure, self.project, self.group = enclosure, project, group
        self.user, self.env, self.program = user or (None, ENV, tenon.TENON)
        self.name = f"{enclosure} as user {os.geteuid() if user is None else self.user}"
        self.settings = f"machine: {{enclosure: {'auto' if group else enclosure}}}"

    def run(self, workflow, settings=None, more=()):
        """A `tenon run` under way."""
        path = tenon.write(os.path.join(SETTINGS, f"{len(os.listdir(SETTINGS))}.yaml"), settings or self.settings)
        os.chmod(path, 0o644)
        arguments = ["run", "--settings", path, "--workflow", workflow, "--json", *more]
        if self.group:
            tenon.write(self.group + "/cgroup.procs", str(os.getpid()))  # what we start now is in it, too
        try:
            return tenon.Running(arguments, self.project, env=self.env, user=self.user, program=self.program)
        finally:
            if self.group:
                tenon.write(os.path.dirname(self.group) + "/cgroup.procs", str(os.getpid()))

    def check_ends(self):
        """A job that ends and one that is too quiet leave nothing."""
        with self.run("ends") as running:
            result = running.wait(90)
        check_equal(result.states(), {"escapes": "succeeded", "too-quiet": "failed"}, f"{self.name}: {result}")
        check_in(SAYS[self.enclosure], result.log("escapes", "Spin up environment"), f"{self.name}: first step")
        self.check_gone("ended")
        return result

    def check_killed(self, victims):
        """Processes of ours are killed in mid-job; the next run finds what they left."""
        with self.run("waits") as running:
            running.wait_output("all-are-there")
            check(len(left()) >= 8, f"{self.name}: the daemons are not there: {left()}")
            pids = [running.find(name) for name in victims]
            if "tenond" in victims:  # it must not see the others' end, nor may the command clean up after it
                os.kill(pids[victims.index("tenond")], signal.SIGSTOP)
                running.child.kill()
            for pid in pids:
                procs.kill(pid)
            if victims == ["tenon-executor-machine"]:
                running.find(victims[0])
                running.signal()
            running.wait(60)
        if "tenond" in victims:
            check(all(procs.wait_gone(pid, 5) for pid in pids), f"{self.name}: {victims} do not die")
            if self.enclosure == "group":  # any other tenond on this machine may have ended what was in a control group
                check(left(), f"{self.name}: nothing is left when {victims} are killed: this shows nothing")
            with self.run("nothing") as running:
                running.wait(60).expect(0)
        self.check_gone(f"{victims} killed")

    @staticmethod
    def wait_executors():
        """An executor whose tenond was killed waits for answers for a while."""
        def executors():
            return [pid for pid in procs.marked(FOLDER) if procs.program(pid).startswith("tenon-executor")]
        check(procs.wait_for(lambda: not executors(), 20 * tenon.SLOW), f"executors without tenond: {executors()}")

    def check_gone(self, what):
        """Nothing of any job is left."""
        check_gone(self.env["XDG_STATE_HOME"], f"{self.name}, {what}")

    def check_refused(self, settings, want):
        """Settings under which no job can run."""
        with self.run("nothing", settings) as running:
            result = running.wait(60).expect(3)
        check_in(want, result.job("nothing")["reason"], f"settings {settings}")


os.chmod(FOLDER, 0o711)
os.mkdir(SETTINGS)
tenon.write(os.path.join(OUTSIDE, "kept"), "")
ENV = {name: os.environ[name] for name in ("XDG_STATE_HOME", "XDG_RUNTIME_DIR")}
