# deadline: 120
"""What is kept: caches that the first writer makes, workspaces whose layers may not clash, artifacts with their
destinations; damage that is noticed; quotas and retention; and `tenon store`, also while jobs run."""

import atexit
import json
import os
import re
import shutil
import subprocess
import tempfile
import time

import tenon
from tenon import check, check_equal, check_in

HERE = os.path.dirname(os.path.abspath(__file__))
STATE = tempfile.mkdtemp(prefix="s.")
RUNTIME = tempfile.mkdtemp(prefix="x.")
# Jobs have a /tmp of their own.
MEET = tempfile.mkdtemp(prefix="tenon-store.", dir="/dev/shm")
atexit.register(shutil.rmtree, MEET)
ENV = {"XDG_STATE_HOME": STATE, "XDG_RUNTIME_DIR": RUNTIME}
HOME = os.path.join(STATE, "tenon")
STORE = os.path.join(HOME, "store/output")
FOLDER = tenon.project(HERE)


def arguments(workflow, *more):
    """What a workflow of the project is run with."""
    return ["run", "--workflow", workflow, "--executor", "docker=machine", "-e", "MEET=" + MEET, *more]


def store(*words):
    """Runs `tenon store`; returns exit code, lines of JSON (if asked for) or text, and standard error."""
    done = subprocess.run([tenon.TENON, "store", *words], env=tenon.command_environment(**ENV), capture_output=True,
                          text=True, check=False, timeout=60)
    lines = [json.loads(line) for line in done.stdout.splitlines()] if "--json" in words else done.stdout
    return done.returncode, lines, done.stderr


def runs():
    """What tenon-output keeps of all runs, the oldest first."""
    return [os.path.join(HOME, "runs", name, "output") for name in sorted(os.listdir(os.path.join(HOME, "runs")))]


def entries():
    """{key: entry} of all caches, each with the path of its tar."""
    found = {}
    for path in tenon.files_below(os.path.join(STORE, "caches")):
        if path.endswith(".json"):
            entry = json.loads(tenon.read(os.path.join(STORE, "caches", path)))
            entry["tar"] = os.path.join(STORE, "caches", os.path.dirname(path), entry["file"])
            found[entry["key"]] = entry
    return found


def damage(path):
    """Changes one byte in the middle of a file."""
    with open(path, "r+b") as file:
        file.seek(os.path.getsize(path) // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 255]))


def age_caches():
    """Makes all caches an hour older: no test waits for that."""
    for entry in entries().values():
        path = re.sub(r"\.\w+\.tar\.zst$", ".json", entry["tar"])
        tenon.write(path, tenon.read(path).replace(entry["created"], str(int(entry["created"]) - 3600 * 10 ** 9)))


def check_caches(result):
    """First writer wins, also of two at the same time; prefixes; newest; misses; unknown templates."""
    saves = {job: result.log(job, "saves") for job in ("first", "second")}
    winner = [job for job, text in saves.items() if "Stored Cache to race-" in text]
    loser = [job for job, text in saves.items() if "Skipping cache generation, cache already exists for key: race-" in text]
    check_equal((len(winner), len(loser)), (1, 1), f"one job stores, the other says that it does not: {saves}")
    check_equal(result.log("third", "which"), {"first": "one\n", "second": "two\n"}[winner[0]], "what is restored")
    check_in("Skipping cache generation, cache already exists for key: race-", result.log("third", "too late"),
             "a later save")
    check_equal(result.states()["third"], "succeeded", "a later save is no failure")
    check(re.search(r"^Found a cache at pre-\d+-exact-and-newer \(", result.log("prefixes", "prefix"), re.M),
          "the newest of the matches wins, even over an exact one")
    check(re.search(r"^No cache is found for key: none-\d+$", result.log("prefixes", "misses"), re.M), "a miss")
    check_equal(result.log("prefixes", "after a miss"), "went on\n", "after a miss")
    check_equal(result.steps("unknown-template")["fails"]["reason"],
                "error computing cache key: cache key: {{ .Nonsense }} is unknown; expected .Branch, .BuildNum, .Revision, "
                ".CheckoutKey, .Environment.NAME, checksum \"file\", epoch or arch", "an unknown template")
    check_equal(result.steps("unknown-template")["not reached"]["state"], "skipped", "after an unknown template")
    twins = [entry["tar"] for key, entry in entries().items() if key.startswith("twin-")]
    check_equal(len(twins), 2, "two caches of equal content")
    check(os.path.samefile(*twins), "equal content is stored once")
    check_equal(os.listdir(os.path.join(STORE, "caches", "partial")), [], "partial files of finished saves")


def check_workspaces(result):
    """Layers in graph order; the same file from concurrent jobs; what is not there."""
    clash = result.log("clash", "attaches")
    check_in("Concurrent upstream jobs persisted the same file(s) into the workspace:\n  - out/same (jobs left, right)\n",
             clash, "the files and their jobs")
    check_equal(result.steps("clash")["attaches"]["reason"],
                "Error applying workspace layer for job right: Concurrent upstream jobs persisted the same file(s)",
                "layers of concurrent jobs")
    check_equal(result.steps("clash")["not reached"]["state"], "skipped", "after a clash")
    check_in("  - out/of-both (tasks of job parallel)\n", result.log("clash-parallel", "attaches"), "layers of tasks")
    check_equal(result.states()["clash-parallel"], "failed", "layers of concurrent tasks")
    check_equal(result.log("ordered", "later wins"), "two\nafter\nleft\nordered\nsame\n",
                "of jobs in order the later one wins")
    check(re.fullmatch(r"Error locating workspace root directory: stat /\S+/not-there: no such file or directory",
                       result.steps("no-root")["persists"]["reason"]), f"no root: {result.steps('no-root')}")
    check(re.fullmatch(r"The specified paths did not match any files in /\S+/w",
                       result.steps("no-match")["persists"]["reason"]), f"no match: {result.steps('no-match')}")


def check_artifacts(result):
    """Destinations of files and folders; links; what is not there."""
    folder = os.path.join(os.path.dirname(result.summary["folder"]), os.path.basename(result.summary["folder"]),
                          "output", "artifacts", "main", "artifacts", "0")
    check_equal(tenon.files_below(folder),
                ["home-dist/c", "prefix/a", "prefix/deep/b", "prefix/link", "renamed.txt", "single.txt"], "artifacts")
    check_equal(os.readlink(os.path.join(folder, "prefix", "link")), "a", "a link among artifacts")
    check(re.search(r"^No artifact files found at /\S+/nowhere$", result.log("artifacts", "missing"), re.M),
          "artifacts that are not there")
    check_equal(result.states()["artifacts"], "succeeded", "artifacts that are not there fail nothing")


def check_usage_and_verify():
    """What there is, by project and kind; and all of it is whole."""
    code, lines, _ = store("usage", "--json")
    check_equal(code, 0, "exit code of usage")
    project = tenon.read(os.path.join(runs()[0], "project"))
    rows = {line["kind"]: line for line in lines if line.get("project") == project}
    check_equal(rows["caches"]["count"], len(entries()), "caches")
    check_equal(rows["caches"]["bytes"], sum(os.path.getsize(entry["tar"]) for entry in entries().values()), "their bytes")
    check_equal((rows["workspaces"]["count"], rows["sources"]["count"], rows["artifacts"]["count"]), (5, 1, 5), "files")
    check(abs(rows["logs"]["oldest"] / 1000 - time.time()) < 120, "the oldest log is young")
    check(lines[-1]["disk"] < lines[-1]["bytes"], "equal files are counted once on the disk")
    check_in(f"{project} ", store("usage")[1], "usage as text")
    code, lines, _ = store("verify", "--json")
    check_equal((code, lines[-1]["damaged"], lines[-1]["files"]), (0, 0, len(entries()) + 6), "verify")


def check_damage():
    """Damaged files: verify names them; a cache is a miss, a workspace and a source fail their steps."""
    tar = next(entry["tar"] for key, entry in entries().items() if key.startswith("race-"))
    newest = max((entry for key, entry in entries().items() if key.startswith("pre-")), key=lambda e: int(e["created"]))
    damage(tar)
    with tenon.Running(arguments("damaged", "--json"), FOLDER, env=ENV) as running:
        running.wait_output("waits too")
        running.wait_output('"waits\\n"')
        state = runs()[-1]
        layer = os.path.join(state, "workspaces", os.listdir(os.path.join(state, "workspaces"))[0])
        layer = layer.replace(".files", ".tar.zst")
        source = os.path.join(state, "sources", os.listdir(os.path.join(state, "sources"))[0])
        # The tree is the one of the run before. Between mounts of its own tenon-output cannot make them one file.
        before = os.path.join(runs()[0], "sources")
        log = tenon.read(os.path.join(os.path.dirname(state), "tenon.log"))
        apart = re.search(r"output \(pid \d+, life \d+\) is ready: [^;\n]*\bmounts\b", log) is not None
        check_equal(os.path.samefile(source, os.path.join(before, os.listdir(before)[0])), not apart,
                    "equal source trees are one file, unless their folders are mounts of their own")
        damage(layer)
        damage(source)
        code, lines, _ = store("verify", "--json")
        check_equal(code, 1, "exit code of verify")
        check_equal(sorted(line["path"] for line in lines if line["type"] == "damaged" and runs()[0] not in line["path"]),
                    sorted([tar, layer, source]), "what verify names")
        code, lines, _ = store("gc", "--json")
        check_equal((code, [line["path"] for line in lines[:-1]]), (0, []), "gc beside a run that lasts removes nothing")
        tenon.write(os.path.join(MEET, "go"), "")
        result = running.wait(60)
    result.expect(1)
    check_equal(result.steps("attaches")["attaches"]["reason"],
                "the workspace cannot be read: the layer of job makes is damaged, so that job must run again: "
                f"{layer} is damaged: its SHA-256 is another than when it was stored", "a damaged layer")
    check_equal(result.steps("checks-out")["checks out"]["reason"],
                "cannot find the source: the stored working tree is damaged, so the pipeline must be started again: "
                f"{source} is damaged: its SHA-256 is another than when it was stored", "a damaged source")
    text = result.log("restores", "restores")
    check(re.search(r"^Warning: The cache for key race-\S+ is damaged and was set aside: " + re.escape(tar) +
                    r" is damaged: its SHA-256 is another than when it was stored$", text, re.M), text)
    check_in(f"Found a cache at {newest['key']} (", text, "another cache is taken")
    check_equal(result.states()["restores"], "succeeded", "a damaged cache fails nothing")
    check_equal(sorted(os.listdir(os.path.join(STORE, "damaged"))),
                sorted([os.path.basename(tar), re.sub(r"\.\w+\.tar\.zst$", ".json", os.path.basename(tar))]), "set aside")


def check_quota_and_retention():
    """Caches past their time go by themselves; of those over the quota the oldest."""
    settings = tenon.write(os.path.join(MEET, "tenon.yaml"), "store: {project_quota: 700KB, keep: {caches: 30s}}\n")
    age_caches()
    result = tenon.run(arguments("quota", "--json", "--settings", settings), FOLDER, env=ENV).expect(1)
    check_in("No cache is found for key: race-", result.log("quota", "expired"), "caches past their time")
    check_in("Stored Cache to q-three", result.log("quota", "three"), "what fits once the oldest cache is gone")
    check_in("No cache is found for key: q-one", result.log("quota", "first is gone"), "the oldest cache")
    check_in("Found a cache at q-two", result.log("quota", "others are there"), "the others")
    project = tenon.read(os.path.join(runs()[-1], "project"))
    check(re.fullmatch(r"the cache cannot be stored: needs 8\d\d\.\d KiB, but of the 683\.6 KiB that the project " +
                       re.escape(project) + r" may keep, [\d.]+ (KiB|B) are taken \(store\.project_quota\)",
                       result.steps("quota")["too large"]["reason"]), f"too large: {result.steps('quota')['too large']}")
    check(re.match(r"cannot store \S+/d: needs 88\d\.\d KiB, but of the 683\.6 KiB that the project ",
                   result.steps("quota")["too large as well"]["reason"]), f"artifacts: {result.steps('quota')}")
    check_in("Found a cache at q-three", result.log("after-quota", "still there"), "what could not be saved took nothing")


def check_gc():
    """What is past its time and what killed runs left: named first, then gone."""
    old = os.path.join(HOME, "runs", "20200102T030405Z-0000")
    kept = runs()[-1]
    os.rename(os.path.dirname(runs()[0]), old)
    partial = os.path.join(STORE, "caches", "partial", "0123456789abcdef-1.1.0.7")
    dead = os.path.join(RUNTIME, "tenon", "dead")
    unfinished = tenon.write(os.path.join(kept, "output", "partial", "1.1.0.9"), "x" * 1000)
    tenon.write(partial, "x" * 1000)
    os.makedirs(dead)
    os.utime(dead, (1, 1))
    wanted = {old, partial, dead, os.path.dirname(unfinished)}
    past = (int(time.time()) - 100)
    os.rename(os.path.dirname(kept), os.path.join(HOME, "runs", time.strftime("%Y%m%dT%H%M%SZ-0001", time.gmtime(past))))
    kept = os.path.join(HOME, "runs", time.strftime("%Y%m%dT%H%M%SZ-0001", time.gmtime(past)), "output")
    wanted = {old, partial, dead, os.path.join(kept, "output", "partial")}
    code, lines, _ = store("gc", "--dry-run", "--json")
    check_equal(code, 0, "exit code of gc --dry-run")
    named = {line["path"] for line in lines[:-1]}
    check(wanted <= named, f"gc --dry-run names {wanted - named} not, but {named}")
    check(all(os.path.exists(path) for path in wanted), "gc --dry-run removes nothing")
    check_in("would remove run: " + old, store("gc", "--dry-run")[1], "gc --dry-run as text")
    code, lines, _ = store("gc", "--json")
    check_equal(code, 0, "exit code of gc")
    left = [path for path in wanted if os.path.exists(path)]
    check_equal(left, [], "gc removes all that it named")
    check(lines[-1]["bytes"] > 2000 and lines[-1]["removed"] >= len(wanted), f"what gc says: {lines[-1]}")
    check(os.path.exists(os.path.join(kept, "logs")), "logs of a young run stay")
    check_equal(store("gc")[1], "0 things removed, 0 B freed\n", "a second gc")
    settings = tenon.write(os.path.join(MEET, "short.yaml"), "store: {keep: {caches: 1s, logs: 1s, artifacts: 1h}}\n")
    age_caches()
    store("gc", "--settings", settings)
    check_equal((entries(), os.path.exists(os.path.join(kept, "logs"))), ({}, False), "caches and logs past their time")
    blobs = os.path.join(STORE, "blobs")
    check(all(os.stat(os.path.join(blobs, name)).st_nlink > 1 for name in os.listdir(blobs)), "nobody's files are gone")


def check_bad_input():
    """Words that `tenon store` does not know."""
    wrong = tenon.write(os.path.join(MEET, "wrong.yaml"), "store: {keep: {caches: soon}}\n")
    for words, text in ((["usages"], "`tenon store` knows usage, verify and gc, not usages"),
                        ([], "`tenon store` needs one of usage, verify and gc"),
                        (["usage", "more"], "this is too much: more"),
                        (["gc", "--forc"], "`tenon store` has no option --forc"),
                        (["verify", "--dry-run"], "--dry-run and --settings belong to `tenon store gc`, not to verify"),
                        (["gc", "--settings"], "an argument is missing after --settings")):
        code, _, err = store(*words)
        check_equal((code, err), (2, f"tenon: {text}\nTry `tenon store --help`.\n"), f"tenon store {words}")
    code, _, err = store("gc", "--settings", wrong)
    check_equal(code, 2, "exit code for wrong settings")
    check_in(f"{wrong}:1:24: error T2011: `caches` of `store.keep` is `soon`, which is not a duration", err, "wrong settings")
    check_in("Usage: tenon store usage", store("--help")[1], "help")


outcome = tenon.run(arguments("main", "--json"), FOLDER, env=ENV).expect(1)
check_caches(outcome)
check_workspaces(outcome)
check_artifacts(outcome)
check_usage_and_verify()
check_damage()
check_quota_and_retention()
check_gc()
check_bad_input()
tenon.check_nothing_left()
