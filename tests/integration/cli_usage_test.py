"""The command line itself: help, version, wrong arguments, and the exit codes that they have."""

import os
import subprocess
import tempfile

import tenon
from tenon import check, check_equal, check_in

folder = tempfile.mkdtemp()

result = tenon.run(["--help"], folder).expect(0)
for word in ("run", "config", "settings"):
    check_in(word, result.out, "help names every command")
check_equal(result.err, "", "help writes nothing to stderr")

result = tenon.run(["run", "--help"], folder).expect(0)
for word in ("--workflow", "--job", "--env", "--env-file", "--context", "--param", "--executor", "--settings", "--json"):
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

# What was asked for and could not be written is no success; a closed stream is nobody else's descriptor.
with open(f"{folder}/config.yml", "w", encoding="utf-8") as config:
    config.write("version: 2.1\njobs: {a: {machine: true, steps: [run: 'true']}}\nworkflows: {w: {jobs: [a]}}\n")
for arguments in ("--help", "run --help", "config process config.yml", "config validate config.yml"):
    result = subprocess.run(["sh", "-c", f'"$0" {arguments} >/dev/full', tenon.TENON], cwd=folder, check=False,
                            stderr=subprocess.PIPE, text=True, timeout=60)
    check_equal(result.returncode, 3, f"exit code of `tenon {arguments}` where the disk is full")
    check_in("standard output: No space left on device", result.stderr, f"`tenon {arguments}` where the disk is full")
result = subprocess.run(["sh", "-c", '"$0" config process config.yml >&- <&-', tenon.TENON], cwd=folder, check=False,
                        stderr=subprocess.PIPE, text=True, timeout=60)
check_equal(result.returncode, 3, "exit code without standard output")
check_in("standard output: Bad file descriptor", result.stderr, "without standard output")

check_in('"" is no name of a variable', tenon.run(["run", "--env", "=x"], folder).expect(2).err, "an empty name")

# A config that may not be seen is not one that is missing. Root sees everything, so somebody else looks.
os.mkdir(f"{folder}/.circleci", 0o700)
os.chmod(folder, 0o755)
if os.geteuid() == 0:
    result = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", tenon.TENON, "run"],
                            cwd=folder, check=False, stderr=subprocess.PIPE, text=True, timeout=60)
    check_equal(result.returncode, 2, "exit code when the config may not be seen")
    check_in("Permission denied", result.stderr, "what is said when the config may not be seen")
