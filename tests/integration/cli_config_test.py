"""`tenon config validate` and `process`: what is right says so, what is wrong is shown with place, line and caret."""

import tenon
from tenon import check, check_equal, check_in

GOOD = """version: 2.1
jobs:
  build:
    machine: true
    steps:
      - run: echo hello
"""

folder = tenon.project(config=GOOD)
tenon.run(["config", "validate", ".circleci/config.yml"], folder).expect(0)
processed = tenon.run(["config", "process", ".circleci/config.yml"], folder).expect(0)
check_in("echo hello", processed.out, "the processed config holds the step's command")

# Two mistakes in one file: both are reported, each with file, line, column, the line itself and a caret below it.
BAD = """version: 2.1
jobs:
  build:
    machine: true
    stepz:
      - run: echo hello
    steps:
      - runn: echo hello
"""
folder = tenon.project(config=BAD)
result = tenon.run(["config", "validate", ".circleci/config.yml"], folder).expect(2)
check_in(".circleci/config.yml:5:5", result.err, "place of the first mistake")
check_in("stepz", result.err, "name of the first mistake")
check_in(".circleci/config.yml:8:9", result.err, "place of the second mistake")
check_in("runn", result.err, "name of the second mistake")
lines = result.err.splitlines()
carets = [line for line in lines if line.strip(" |").startswith("^")]
check(len(carets) >= 2, f"a caret for each mistake: {result}")

# A missing file is an error of the command line, with its name.
result = tenon.run(["config", "validate", "missing.yml"], folder).expect(2)
check_in("missing.yml", result.err, "the missing file's name")
check_equal(result.out, "", "nothing on stdout")
