#!/usr/bin/env python3
"""Runs the static analysis and says what it found, one line a tool. Called by tools/check, which installs the tools.

What is no mistake is said where it stands, with the reason: `NOLINT(check): reason` for clang-tidy (.clang-tidy has what is
off for all files), `cppcheck-suppress id ; reason`, `shellcheck disable=SC1 # reason`, and for GCC's analyzer, which has
no such comment, a line in tools/check.allowed. Nothing is kept from run to run: each starts from the sources alone."""

import argparse
import concurrent.futures
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ALLOWED = "tools/check.allowed"
DEADLINE = 300  # seconds for one file and one tool

# Kept from the compiler's command line; hardening and warnings are the compiler's own business.
KEPT_FLAGS = ("-I", "-D", "-std=", "-isystem")

# What cppcheck cannot know here; each identifier with the reason why it says nothing about us.
CPPCHECK_OFF = {
    "memleak": "does not know __attribute__((cleanup)); GCC's and clang's analyzers look for leaks",
    "resourceLeak": "the same, for descriptors",
    "readdirCalled": "readdir_r is deprecated; readdir is safe on a DIR of one's own (readdir(3))",
    "getpwuidCalled": "only one thread of a process asks for users and groups",
    "getgrgidCalled": "the same",
    "fgetpwentCalled": "the same",
    "fgetgrentCalled": "the same",
    "ignoredReturnValue": "strsep is called for what it does to its argument; -Wunused-result looks for the others",
    "varFuncNullUB": "NULL is ((void *)0) in the C libraries that we build for",
    "nullPointerRedundantCheck": "does not see that tn_fatal() never returns; clang's and GCC's analyzers look for these",
    "nullPointer": "believes that accept4(2) takes no NULL; the same",
}
CPPCHECK_OFF_IN_TESTS = {
    "invalidFunctionArg": "a failed CHECK is counted and the test goes on; it may crash then",
    "leakReturnValNotUsed": "the prober and fuzzers make things only to see whether they can",
    "unknownEvaluationOrder": "counts a designated initializer with ++ on another variable",
}

# Of shellcheck, with the reason.
SHELLCHECK_OFF = {
    "SC2016": "text in single quotes is often for another shell, and the scripts of images are their caches' keys",
}

# Of GCC's analyzer in tests; with the reason.
GCC_OFF_IN_TESTS = {
    "analyzer-possible-null-argument": "a test without memory may crash",
    "analyzer-possible-null-dereference": "the same",
    "analyzer-null-argument": "a failed CHECK is counted and the test goes on; it may crash then",
    "analyzer-null-dereference": "the same",
    "analyzer-malloc-leak": "AddressSanitizer looks for leaks while the tests run",
}

# The headers whose macros must be seen expanded; with all of the system's headers it takes ten times as long.
CPPCHECK_HEADERS = ("sys/queue.h", "cjson/cJSON.h")


class ToolFailed(Exception):
    """A tool did not do its work; that is no finding."""


def capture(argv, **more):
    """Runs a program; returns (status, output, errors) as text."""
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                              timeout=DEADLINE, env={**os.environ, "LC_ALL": "C"}, **more)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolFailed(f"{argv[0]}: {error}") from error
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def relative(path):
    """A path as it is called in the repository."""
    return os.path.relpath(os.path.realpath(path), REPOSITORY)


def tracked():
    """All files of the repository but what builds left, relative."""
    found = []
    for folder, folders, names in os.walk(REPOSITORY):
        folders[:] = sorted(f for f in folders if f == ".ci" or not (f.startswith((".", "build")) or f == "__pycache__"))
        found += [os.path.relpath(os.path.join(folder, name), REPOSITORY) for name in sorted(names)]
    return found


def is_shell(path):
    """Whether a file is a script of the shell."""
    try:
        with open(os.path.join(REPOSITORY, path), "rb") as file:
            return re.match(rb"#! ?/bin/(ba|da)?sh\b", file.readline(80)) is not None
    except OSError:
        return False


class Sources:
    """The C files with the flags that each is compiled with."""

    def __init__(self, build):
        self.build = build
        self.flags = {}
        if os.path.exists(build):
            if not os.path.isdir(os.path.join(build, "meson-private")):
                raise ToolFailed(f"{build} is no build folder; choose another one with --build")
            shutil.rmtree(build)
        status, output, errors = capture(["meson", "setup", build], cwd=REPOSITORY)
        if status != 0:
            raise ToolFailed(f"meson setup:\n{output}{errors}")
        with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
            for entry in json.load(file):
                path = relative(os.path.join(entry["directory"], entry["file"]))
                self.flags.setdefault(path, self._kept(shlex.split(entry["command"]), entry["directory"]))
        # The agent is built by a compiler of its own, which meson does not list.
        agent = self.flags["executors/agent/glob.c"] + ['-DTN_VERSION="check"']
        for path in tracked():
            if path.startswith("executors/agent/") and path.endswith(".c"):
                self.flags[path] = agent
        self.files = sorted(self.flags)

    @staticmethod
    def _kept(argv, directory):
        """The flags that say what the text means, with absolute folders."""
        kept = []
        for word in argv:
            if word.startswith("-I"):
                kept.append("-I" + os.path.normpath(os.path.join(directory, word[2:])))
            elif word.startswith(KEPT_FLAGS) and not word.startswith("-D_FORTIFY_SOURCE"):
                kept.append(word)
        return kept

    def database(self, folder, more=()):
        """Writes a compile_commands.json below the build folder; returns its path."""
        path = os.path.join(self.build, folder, "compile_commands.json")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        entries = [{"directory": REPOSITORY, "file": os.path.join(REPOSITORY, name),
                    "arguments": ["cc", *self.flags[name], *more, "-c", os.path.join(REPOSITORY, name)]}
                   for name in self.files]
        for entry in entries:  # cppcheck 2.10 reads "command" only
            entry["command"] = shlex.join(entry.pop("arguments"))
        with open(path, "w", encoding="utf-8") as file:
            json.dump(entries, file)
        return path


def every(work, files):
    """work(file) for all files, as many at once as there are processors; the findings of all, each once."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return {finding for found in pool.map(work, files) for finding in found}


# The tools: each takes (sources, files), and returns (number of files, findings).


def clang_tidy(sources, chosen):
    """What is shipped; tests have GCC, cppcheck and the sanitizers. One process a file: version 14 takes one file's
    va_list for an uninitialized one once it has read another."""
    folder = os.path.dirname(sources.database("tidy"))

    def one(path):
        _, output, errors = capture(["clang-tidy", "-p", folder, "--quiet", os.path.join(REPOSITORY, path)])
        found = re.findall(r"^(/[^:\n]+):(\d+):\d+: (?:warning|error): (.*)$", output, re.MULTILINE)
        if not found and "error" in errors.lower():
            raise ToolFailed(f"clang-tidy {path}: {errors.strip()[-500:]}")
        return [f"{relative(name)}:{line}: {text}" for name, line, text in found]

    files = [f for f in sources.files if chosen(f) and not f.startswith("tests/")]
    return len(files), every(one, files)


def gcc_analyzer(sources, chosen):
    """Findings that tools/check.allowed names are no findings; what it names in vain is one."""
    def one(path):
        relaxed = GCC_OFF_IN_TESTS if path.startswith("tests/") else {}
        status, _, errors = capture(["gcc", *sources.flags[path], "-fanalyzer", "-fdiagnostics-plain-output", "-O1",
                                     *(f"-Wno-{name}" for name in relaxed), "-c", "-o", "/dev/null", os.path.join(REPOSITORY, path)])
        if status != 0:
            raise ToolFailed(f"gcc {path}: {errors.strip()[-500:]}")
        found, function = [], "?"
        for line in errors.splitlines():
            where = re.match(r"\S+: In function '([^']+)'", line)
            what = re.match(r"(\S+?):(\d+):\d+: warning: (.*?) \[(?:CWE-\d+\] \[)?(-Wanalyzer-[\w-]+)\]", line)
            if where:
                function = where.group(1)
            elif what:
                found.append((relative(what.group(1)), what.group(2), function, what.group(4), what.group(3)))
        return found

    files = [f for f in sources.files if chosen(f)]
    allowed, findings = read_allowed()
    unused = dict(allowed)
    for path, line, function, option, text in sorted(every(one, files)):
        if (path, function, option) in allowed:
            unused.pop((path, function, option), None)
        else:
            findings.add(f"{path}:{line}: in {function}: {text} [{option}]")
    for (path, function, option), line in unused.items():
        if chosen(path):
            findings.add(f"{ALLOWED}:{line}: {path}:{function} has no {option} any more: remove the line")
    return len(files), findings


def read_allowed():
    """({(file, function, option): line}, findings) of tools/check.allowed: `FILE:FUNCTION OPTION REASON` a line."""
    allowed, findings = {}, set()
    with open(os.path.join(REPOSITORY, ALLOWED), encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.startswith("#") or not line.strip():
                continue
            parts = re.match(r"([^\s:]+):(\S+) (-Wanalyzer-\S+) (\S.*)", line)
            if parts:
                allowed[parts.group(1, 2, 3)] = number
            else:
                findings.add(f"{ALLOWED}:{number}: expected FILE:FUNCTION OPTION REASON")
    return allowed, findings


def cppcheck(sources, chosen):
    """All files in one call."""
    headers = os.path.join(sources.build, "cppcheck-headers")
    for name in CPPCHECK_HEADERS:
        status, output, _ = capture(["gcc", *sources.flags["core/lib/json.c"], "-E", "-M", "-include", name, "-x", "c", "/dev/null"])
        path = next((p for p in output.split() if p.endswith("/" + name)), None)
        if status != 0 or path is None:
            raise ToolFailed(f"cppcheck: no header {name}")
        for copy in (name, os.path.basename(name)):
            os.makedirs(os.path.dirname(os.path.join(headers, copy)), exist_ok=True)
            shutil.copy(path, os.path.join(headers, copy))
    project = sources.database("cppcheck", ["-I" + headers])
    status, _, errors = capture(["cppcheck", "--enable=warning,performance,portability", "--inline-suppr",
                                 "--library=posix,gnu", "--quiet", "--error-exitcode=0", f"-j{os.cpu_count()}",
                                 "--template={file}:{line}: {message} [{id}]", f"--suppress=*:{headers}/*",
                                 *(f"--suppress={name}" for name in CPPCHECK_OFF),
                                 *(f"--suppress={name}:{REPOSITORY}/tests/*" for name in CPPCHECK_OFF_IN_TESTS), f"--project={project}"])
    if status != 0:
        raise ToolFailed(f"cppcheck: {errors.strip()[-500:]}")
    findings = set()
    for line in errors.splitlines():
        path, _, rest = line.partition(":")
        if chosen(relative(path)):
            findings.add(f"{relative(path)}:{rest}")
    return len(sources.files), findings


def shellcheck(_sources, chosen):
    """All scripts, and what they source."""
    files = [f for f in tracked() if (is_shell(f) or f.endswith(".sh")) and chosen(f)]
    if not files:
        return 0, set()
    status, output, errors = capture(["shellcheck", "--shell=sh", "--external-sources", "--format=gcc",
                                      "--exclude=" + ",".join(SHELLCHECK_OFF), *files], cwd=REPOSITORY)
    if status > 1:
        raise ToolFailed(f"shellcheck: {errors.strip()[-500:]}")
    return len(files), set(output.splitlines())


def pyflakes(_sources, chosen):
    """All of Python."""
    files = [f for f in tracked() if f.endswith(".py") and chosen(f)]
    if not files:
        return 0, set()
    _, output, errors = capture(["pyflakes3", *files], cwd=REPOSITORY)
    return len(files), set((output + errors).splitlines())


def reasons(_sources, chosen):
    """Every exception says why."""
    marks = re.compile(r"(NOLINT(?:NEXTLINE|BEGIN)?)\b(\([\w.,*-]+\): \S.*)?|(cppcheck-suppress)(\[?[ \w]+\]? ; \S.*)?"
                       r"|(shellcheck disable=)([\w,]+ # \S.*)?")
    files = [f for f in tracked() if (f.endswith((".c", ".h", ".sh")) or is_shell(f)) and chosen(f)]
    findings = set()
    for path in files:
        with open(os.path.join(REPOSITORY, path), encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                mark = marks.search(line)
                if mark and not any(mark.group(2, 4, 6)):
                    findings.add(f"{path}:{number}: {mark.group(0)} without the check's name and a reason")
    return len(files), findings


TOOLS = {"clang-tidy": clang_tidy, "gcc -fanalyzer": gcc_analyzer, "cppcheck": cppcheck, "shellcheck": shellcheck,
         "pyflakes": pyflakes, "reasons": reasons}


def main():
    """Runs the tools that were asked for."""
    parser = argparse.ArgumentParser(prog="tools/check", description="Static analysis of this repository.")
    parser.add_argument("--build", default=os.path.join(REPOSITORY, "build-check"), help="build folder, made anew (default: build-check)")
    parser.add_argument("--only", action="append", choices=sorted(TOOLS), help="this tool; may repeat")
    parser.add_argument("files", nargs="*", metavar="FILE", help="only findings in these files (default: all)")
    options = parser.parse_args()
    wanted = {relative(path) for path in options.files}
    failed = False
    try:
        sources = Sources(os.path.abspath(options.build))
        for name in options.only or TOOLS:
            started = time.monotonic()
            count, findings = TOOLS[name](sources, lambda path: not wanted or path in wanted)
            for finding in sorted(findings):
                print(f"    {finding}")
            print(f"{name}: {count} files, {len(findings)} findings, {time.monotonic() - started:.0f} s", flush=True)
            failed = failed or bool(findings)
    except ToolFailed as error:
        print(f"tools/check: {error}", file=sys.stderr)
        sys.exit(3)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
