# deadline: 120
"""The options of `tenon run`: --job, --workflow, --env, --env-file, --context, --param, -c, and both ways of output."""

import json
import os
import tempfile

import tenon
from tenon import check, check_equal, check_in

CONFIG = """version: 2.1
parameters:
  text: {type: string, default: from-config}
  number: {type: integer, default: 1}
  flag: {type: boolean, default: false}
jobs:
  show:
    machine: true
    environment: {FROM_JOB: job, CONTESTED: job}
    steps:
      - run:
          name: show
          environment: {FROM_STEP: step}
          command: |
            text="<< pipeline.parameters.text >>"
            echo "parameters: $text << pipeline.parameters.number >> << pipeline.parameters.flag >>"
            echo "variables: $FROM_JOB $FROM_STEP $CONTESTED"
            echo "given: ${#GIVEN} ${#FROM_FILE} ${#QUOTED} ${#FROM_CONTEXT}"
            echo "secret: $FROM_CONTEXT"
      - when:
          condition: << pipeline.parameters.flag >>
          steps: [run: {name: flagged, command: "echo the flag is set"}]
  other:
    machine: true
    steps: [run: {name: other, command: "echo the other job"}]
workflows:
  first:
    jobs: [{show: {context: [secrets]}}, other]
  second:
    jobs: [other]
"""


def run(*arguments, code=0):
    """Runs tenon in the project, with the context that it asks for."""
    return tenon.run(["run", "--context", "secrets=" + context, *arguments], project).expect(code)


project = tenon.project(config=CONFIG)
place = tempfile.mkdtemp()
context = tenon.write(place + "/context", "# a comment\n\nFROM_CONTEXT=confidential\nCONTESTED=context\n")
variables = tenon.write(place + "/variables", "FROM_FILE=four\nQUOTED=a=b c\n")

# Values of every source, the strongest wins; a value of a context is masked in the log.
result = run("--workflow", "first", "--env", "GIVEN=12345", "--env", "CONTESTED=command", "--env-file", variables,
             "--param", "text=changed", "--param", "number=7", "--param", "flag=true", "--json")
check_equal(result.states(), {"show": "succeeded", "other": "succeeded"}, "states of the jobs")
check_equal(result.log("show", "show"), "parameters: changed 7 true\nvariables: job step job\n"
            "given: 5 4 5 12\nsecret: ****\n", "what the job saw")
check_in("the flag is set", result.job_log("show"), "the step under `when`")
check("confidential" not in result.out + result.err, "the context's value was printed")
for line in result.out.splitlines():
    check(isinstance(json.loads(line), dict), f"one object a line: {line}")

# Without them: the defaults of the config.
check_in("parameters: from-config 1 false\n", run("--job", "show", "--json").log("show", "show"), "defaults")

# One workflow, one job.
check_equal(run("--workflow", "second", "--json").states(), {"other": "succeeded"}, "--workflow runs only that one")
check_equal(run("--workflow", "first", "--job", "other", "--json").states(), {"other": "succeeded"}, "--job, too")

# Another file; and the plain output, which is for people: it names jobs, steps and results, with no control characters.
elsewhere = os.path.join(project, "elsewhere.yml")
os.rename(os.path.join(project, ".circleci", "config.yml"), elsewhere)
plain = run("-c", "elsewhere.yml", "--workflow", "second")
for word in ("second", "other", "the other job", "succeeded"):
    check_in(word, plain.out, "plain output")
check("\x1b" not in plain.out + plain.err, "control characters in output that goes to no terminal")

# What is wrong with them is said, before anything runs.
for arguments, words in ((["--param", "absent=1"], ["absent"]), (["--param", "number=seven"], ["number", "seven"]),
                         (["--env-file", place + "/absent"], [place + "/absent"]),
                         (["--context", "secrets=" + place + "/absent"], [place + "/absent"])):
    refused = run("-c", "elsewhere.yml", *arguments, code=2)
    for word in words:
        check_in(word, refused.err, f"the message about {' '.join(arguments)}")
tenon.check_nothing_left()
