"""What runs under chaos: a config of many small jobs on this host, generated from a seed, and what must come of each.

Every step that runs a command first adds one line "JOB.TASK.STEP" to a witness file outside of Tenon: a command that ran
twice is there twice, whatever Tenon thinks of it."""

import hashlib

PIECES = 8  # of a step's output, a short moment apart
WIDTH = 3   # parallel tasks of a job that fans out


class Step:
    """A command that runs and the bytes that its log must hold."""

    def __init__(self, name, command, log=None):
        self.name, self.command, self.log = name, command, log


class Job:
    """A job of the config and its expected end."""

    def __init__(self, name, state="succeeded", parallelism=1, requires=()):
        self.name, self.state, self.parallelism, self.requires = name, state, parallelism, list(requires)
        self.entries = []  # YAML of the steps, in order
        self.steps = []    # those that run a command
        self.artifacts = {}

    def run(self, name, command, log=None, when=None):
        """Adds a step that leaves a line with the witness and then runs `command`."""
        self.steps.append(Step(name, command, log))
        lines = [f"echo {self.name}.$CIRCLE_NODE_INDEX.{name} >> $WITNESS", *command.splitlines()]
        self.entries.append(f"- run:\n    name: {name}\n" + (f"    when: {when}\n" if when else "") + "    command: |\n" +
                            "".join(f"      {line}\n" for line in lines))

    def step(self, text):
        """Adds another step as YAML."""
        self.entries.append(text)

    def yaml(self):
        """The job's definition."""
        body = "".join("      " + line + "\n" for entry in self.entries for line in entry.rstrip("\n").splitlines())
        return (f"  {self.name}:\n    machine: true\n    parallelism: {self.parallelism}\n"
                f"    steps:\n{body}")


def numbers(job, name, rng):
    """Adds a step that prints numbered lines, some at once and some with pauses, and knows its log."""
    first = rng.randrange(1000)
    count = rng.choice((3, 40, 400))
    word = f"{job.name}-{name}"
    pause = rng.choice(("0", "0.02", "0.1"))
    command = (f"from={first}\nwhile [ $from -lt {first + PIECES * count} ]; do\n"
               f"  seq -f '{word} %06.0f' $from $((from + {count} - 1))\n  from=$((from + {count}))\n  sleep {pause}\ndone")
    job.run(name, command, "".join(f"{word} {number:06d}\n" for number in range(first, first + PIECES * count)))


def body(name, size):
    """A file's text, the same each time, and the shell command that writes it."""
    lines = max(1, size // 11)
    return "".join(f"{name[:3]:3} {number:06d}\n" for number in range(lines)), \
        f"seq -f '{name[:3]:3} %06.0f' 0 {lines - 1}"


def digest(text):
    """SHA-256 of a text in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def add_artifact(job, name, size):
    """Writes a file, stores it, and expects it whole."""
    text, command = body(name, size)
    job.run(f"make-{name}", f"mkdir -p out\n{command} > out/{name}")
    job.step(f"- store_artifacts:\n    path: out/{name}\n    destination: kept/{name}\n")
    job.artifacts[f"kept/{name}"] = digest(text)


def plain(number, rng):
    """A job that prints and keeps an artifact."""
    job = Job(f"plain-{number}")
    numbers(job, "one", rng)
    add_artifact(job, "file", rng.choice((100, 50_000, 900_000)))
    numbers(job, "two", rng)
    return [job]


def failing(number, rng):
    """A job whose second step fails and whose on_fail step runs."""
    job = Job(f"failing-{number}", "failed")
    numbers(job, "one", rng)
    job.run("fail", "echo now\nexit 7", "now\n\nExited with code exit status 7\n")
    job.run("after", "echo seen", "seen\n", "on_fail")
    return [job]


def cached(number, rng):
    """A job that saves a cache and one that restores it and looks at every byte."""
    text, command = body("cache", rng.choice((1000, 300_000, 3_000_000)))
    save, load = Job(f"save-{number}"), Job(f"load-{number}", requires=[f"save-{number}"])
    save.step(f"- restore_cache:\n    key: chaos-{number}-\n")
    save.run("fill", f"mkdir -p kept\n{command} > kept/file\necho filled", "filled\n")
    save.step(f"- save_cache:\n    key: chaos-{number}-a\n    paths: [kept]\n")
    numbers(save, "one", rng)
    load.step(f"- restore_cache:\n    keys: [chaos-{number}-]\n")
    load.run("look", "sha256sum < kept/file", f"{digest(text)}  -\n")
    return [save, load]


def fan(number, rng):
    """Parallel tasks that persist to the workspace and a job that collects all of it."""
    wide = Job(f"wide-{number}", parallelism=WIDTH)
    collect = Job(f"collect-{number}", requires=[wide.name])
    text, command = body("space", rng.choice((500, 200_000, 1_000_000)))
    numbers(wide, "one", rng)
    wide.run("make", f"mkdir -p parts{number}\n{command} > parts{number}/$CIRCLE_NODE_INDEX")
    wide.step(f"- persist_to_workspace:\n    root: .\n    paths: [parts{number}]\n")
    collect.step("- attach_workspace:\n    at: all\n")
    collect.run("look", f"cat all/parts{number}/* | sha256sum\nls all/parts{number} | wc -l",
                f"{digest(text * WIDTH)}  -\n{WIDTH}\n")
    add_artifact(collect, "sum", 2000)
    return [wide, collect]


def make(rng, tasks):
    """Jobs with at least `tasks` tasks in all."""
    jobs = []
    number = 0
    while sum(job.parallelism for job in jobs) < tasks:
        kinds = [plain, failing, cached, fan]
        rng.shuffle(kinds)
        for kind in kinds:
            number += 1
            jobs += kind(number, rng)
    return jobs


def config(jobs):
    """The config file."""
    flow = "".join(f"      - {job.name}:\n          requires: [{', '.join(job.requires)}]\n" if job.requires
                   else f"      - {job.name}\n" for job in jobs)
    return "version: 2.1\njobs:\n" + "".join(job.yaml() for job in jobs) + f"workflows:\n  chaos:\n    jobs:\n{flow}"
