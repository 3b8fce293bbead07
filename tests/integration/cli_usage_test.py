"""The command line itself: help, version, wrong arguments, and the exit codes that they have."""

import tempfile

import tenon
from tenon import check, check_equal, check_in

folder = tempfile.mkdtemp()

result = tenon.run(["--help"], folder).expect(0)
for word in ("run", "config"):
    check_in(word, result.out, "help names every command")
check_equal(result.err, "", "help writes nothing to stderr")

result = tenon.run(["run", "--help"], folder).expect(0)
for word in ("--workflow", "--job", "--env", "--env-file", "--context", "--param", "--executor", "--json"):
    check_in(word, result.out, "help of run names every option")

check_in("0.", tenon.run(["--version"], folder).expect(0).out, "version")

for arguments, word in ((["frobnicate"], "frobnicate"), (["run", "--frobnicate"], "frobnicate"),
                        (["run", "--env", "NOVALUE"], "NOVALUE"), (["run", "--context", "nofile"], "nofile"),
                        (["run", "--executor", "docker"], "docker"), (["config", "frobnicate"], "frobnicate")):
    result = tenon.run(arguments, folder).expect(2)
    check_in(word, result.err, f"the message of `tenon {' '.join(arguments)}` names what is wrong")
    check_equal(result.out, "", "an error writes nothing to stdout")

result = tenon.run([], folder).expect(2)
check(result.err.strip() != "", "without a command there is a hint on stderr")

result = tenon.run(["run"], folder).expect(2)
check_in(".circleci/config.yml", result.err, "without a config the message names the file that is looked for")
