# deadline: 120
"""Bad input: each kind ends with a clear message, the right exit status, and nothing left running."""

import os

import tenon
from tenon import check, check_equal, check_in


def refused(what, config, code, words, docker=None, arguments=()):
    """Runs a config that must be refused; the messages must hold all `words`."""
    folder = tenon.project(config=config)
    result = tenon.run(["run", *arguments], folder, docker).expect(code)
    for word in words:
        check_in(word, result.err + result.out, what)
    check("Sanitizer" not in result.err, f"{what}: {result}")
    tenon.check_nothing_left(docker)
    return result


def check_place(result, line, column, text):
    """The message names file, line and column, shows the line itself and puts a caret below the column."""
    check_in(f".circleci/config.yml:{line}:{column}:", result.err, "place of the mistake")
    lines = result.err.splitlines()
    shown = [number for number, shown in enumerate(lines) if shown.endswith(text)]
    check(shown, f"the line itself is not shown: {result}")
    # Whatever stands before the line (its number, a bar) stands before the caret's line, too.
    caret = lines[shown[0] + 1].find("^") if shown[0] + 1 < len(lines) else -1
    check_equal(caret, len(lines[shown[0]]) - len(text) + column - 1, f"place of the caret: {result}")


BROKEN = """version: 2.1
jobs:
  build:
    machine: true
    steps: [run: echo hello
"""
refused("broken YAML", BROKEN, 2, [".circleci/config.yml:"])

CYCLE = """version: 2.1
jobs:
  one: {machine: true, steps: [run: echo one]}
  two: {machine: true, steps: [run: echo two]}
  three: {machine: true, steps: [run: echo three]}
workflows:
  around:
    jobs:
      - one: {requires: [three]}
      - two: {requires: [one]}
      - three: {requires: [two]}
"""
refused("a cycle in requires", CYCLE, 2, [".circleci/config.yml:", "one", "two", "three", "around"])

UNKNOWN = """version: 2.1
jobs:
  build:
    executor: nowhere
    steps:
      - run: echo hello
workflows:
  main:
    jobs:
      - build
"""
check_place(refused("an unknown executor", UNKNOWN, 2, ["nowhere"]), 4, 15, "    executor: nowhere")

ABSENT = """version: 2.1
jobs:
  build:
    docker:
      - image: %s
    steps:
      - run: echo hello
"""
refused("no engine", ABSENT % "cimg/base:2025.05-20.04", 3, ["/nonexistent/docker.sock", "docker=machine"])

# The names of workflows and jobs that the command line asks for must exist.
GOOD = """version: 2.1
jobs:
  build: {machine: true, steps: [run: echo hello]}
workflows:
  main: {jobs: [build]}
"""
refused("an unknown workflow", GOOD, 2, ["absent", "main"], arguments=["--workflow", "absent"])
refused("an unknown job", GOOD, 2, ["absent", "build"], arguments=["--job", "absent"])

# The same config without its mistake runs: what was refused was refused for the mistake.
folder = tenon.project(config=GOOD)
done = tenon.run(["run", "--json"], folder).expect(0)
check_equal(done.states(), {"build": "succeeded"}, "the good config")
tenon.check_nothing_left()
leftover = [path for path in tenon.files_below(os.environ.get("XDG_RUNTIME_DIR", "/nonexistent"))]
check_equal(leftover, [], "files in the run folder after all runs ended")

refused("a missing image", ABSENT % "tenon-test/absent:1", 3, ["tenon-test/absent:1"], docker=tenon.docker_host())
