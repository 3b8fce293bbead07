"""tenon.yaml: where it is looked for, what of it counts, and what is said about a wrong one."""

import json
import os
import tempfile

import tenon
from tenon import check_equal, check_in

folder = tempfile.mkdtemp()
config_home = f"{folder}/config"
os.makedirs(f"{config_home}/tenon")
os.environ["XDG_CONFIG_HOME"] = config_home
own = f"{config_home}/tenon/tenon.yaml"
other = f"{folder}/other.yaml"


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def settings(*arguments):
    return json.loads(tenon.run(["settings", "--json", *arguments], folder).expect(0).out)


if not os.path.exists("/etc/tenon/tenon.yaml"):
    check_equal(settings()["store"]["keep"]["caches"], 15 * 86400, "without a file all is as by default")
write(own, "store: {keep: {caches: 1d}}\n")
write(other, "store: {keep: {caches: 2d}}\n")
check_equal(settings()["store"]["keep"], {"caches": 86400, "logs": 30 * 86400, "artifacts": 30 * 86400,
                                          "workspaces": 15 * 86400, "test_results": 30 * 86400}, "the user's file")
check_equal(settings(other)["store"]["keep"]["caches"], 172800, "the file that is named")
check_in(f"# {own}\n", tenon.run(["settings"], folder).expect(0).out, "which file it was")

write(own, "store:\n  keep: {cahces: 1d}\n")
WRONG = (f"{own}:2:10: error T2005: unknown key `cahces` in `store.keep`\n"
         "    2 |   keep: {cahces: 1d}\n"
         "      |          ^^^^^^\n"
         "      = expected: `logs`, `artifacts`, `caches`, `workspaces`, `test_results`\n"
         "      = hint: did you mean `caches`?\n"
         f"tenon: the settings in {own} are wrong\n")
check_equal(tenon.run(["settings"], folder).expect(2).err, WRONG, "a wrong key")
os.makedirs(f"{folder}/.circleci")
write(f"{folder}/.circleci/config.yml",
      "version: 2.1\njobs: {a: {machine: true, steps: [run: 'true']}}\nworkflows: {w: {jobs: [a]}}\n")
result = tenon.run(["run"], folder).expect(2)
check_equal(result.err, WRONG, "nothing runs with wrong settings")
check_equal(result.out, "", "nothing is printed besides")
check_equal(tenon.run(["run", "--settings", f"{folder}/none"], folder).expect(2).err,
            f"tenon: settings: cannot read {folder}/none: No such file or directory\n", "a file that is not there")
tenon.run(["run", "--settings", other], folder).expect(0)

check_equal(tenon.run(["settings", "a", "b"], folder).expect(2).err,
            "tenon: `tenon settings` takes one FILE; \"b\" is too much\nTry `tenon settings --help`.\n", "two files")
check_equal(tenon.run(["settings", "--frob"], folder).expect(2).err,
            "tenon: --frob is no option of `tenon settings`\nTry `tenon settings --help`.\n", "an unknown option")
check_in("Usage: tenon settings", tenon.run(["settings", "--help"], folder).expect(0).out, "help")
