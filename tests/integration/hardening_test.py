"""Every program that would be installed is hardened: what the compiler and the linker were to do is looked for in the
binaries themselves, with readelf.

What is not there, and why:
- Forward-edge control flow integrity beyond ENDBR64: GCC has none, and Linux does not enforce ENDBR64 in programs yet. The
  code has the marks; the note that says so is not set, because Debian 12's start code (Scrt1.o) begins without one.
- Notes about shadow stacks in the agent: musl 1.2.3 knows nothing of them, and its assembly was not written for them.
- Pages of their own for code and constants in the agent: they would cost 5 KB of the bytes that go into every environment.
- _FORTIFY_SOURCE in the agent (musl has none), in debug and in sanitizer builds (nothing is optimized there).
"""

import json
import os
import re
import stat
import subprocess

from tenon import check

BUILD = os.environ["TENON_BUILD"]
PROGRAMS = ["tenon", "tenond", "tenon-bus", "tenon-scheduler", "tenon-compiler", "tenon-output", "tenon-executor-docker",
            "tenon-executor-machine", "tenon-agent"]
AGENT_BYTES = 120 * 1000  # it goes into every environment
UNIT_FLAGS = ["-fstack-protector-strong", "-fstack-clash-protection", "-ftrivial-auto-var-init=zero"]
UNIT_FLAGS_OF = {"x86-64": ["-fcf-protection=full"], "AArch64": ["-mbranch-protection=standard"]}
wrong = []


def expect(condition, path, what):
    """Collects what a binary lacks, so that one run names all."""
    if not condition:
        wrong.append(f"{os.path.relpath(path, BUILD)}: {what}")


def readelf(path, *options):
    """What readelf prints of a file."""
    done = subprocess.run(["readelf", "--wide", *options, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True,
                          env={**os.environ, "LC_ALL": "C"}, timeout=60)
    return done.stdout.decode(errors="replace")


def option(name):
    """An option of the build folder."""
    with open(f"{BUILD}/meson-info/intro-buildoptions.json", encoding="utf-8") as file:
        return next(o["value"] for o in json.load(file) if o["name"] == name)


def shipped():
    """The ELF files among what `meson install` would put in place."""
    with open(f"{BUILD}/meson-info/intro-installed.json", encoding="utf-8") as file:
        paths = sorted(path for path in json.load(file) if path.startswith(BUILD + "/"))
    return [path for path in paths if os.path.isfile(path) and open(path, "rb").read(4) == b"\x7fELF"]


def segments(path):
    """[(type, flags, file offset)] of the program headers."""
    found = re.findall(r"^  (\w+) +(0x\w+) 0x\w+ 0x\w+ 0x\w+ 0x\w+ ([RWE ]{3}) ", readelf(path, "--program-headers"), re.M)
    return [(kind, flags.replace(" ", ""), int(offset, 16)) for kind, offset, flags in found]


def check_layout(path, header):
    """Where it lies in memory, and what of it can be written or executed."""
    parts = segments(path)
    dynamic = readelf(path, "--dynamic")
    expect("DYN (Position-Independent Executable file)" in header, path, "is no position-independent executable")
    expect(any(kind == "GNU_RELRO" for kind, _, _ in parts), path, "has no RELRO segment")
    expect(re.search(r"\bFlags: .*\bNOW\b", dynamic), path, "does not bind at start (-z now), so RELRO is not full")
    expect([flags for kind, flags, _ in parts if kind == "GNU_STACK"] == ["RW"], path, "has an executable stack")
    for kind, flags, offset in parts:
        expect(not ("W" in flags and "E" in flags), path, f"has a segment {kind} that can be written and executed")
        expect("tenon-agent" in path or not ("E" in flags and offset == 0), path, "executes its headers: not linked with -z separate-code")
    expect("TEXTREL" not in dynamic, path, "has relocations in its code")
    expect(not re.search(r"R(UN)?PATH", dynamic), path, "looks for libraries in a folder of the build (RUNPATH)")


def check_mode(path):
    """Nobody else may write it, and it gives nobody rights."""
    mode = os.stat(path).st_mode
    expect(not mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IWOTH), path, f"has mode {stat.S_IMODE(mode):o}")


def check_units(path, machine):
    """Each C file that is in it was compiled with what the ELF file itself cannot show."""
    units = re.findall(r"DW_AT_producer.*?: (GNU C\w* [^\n]*)", readelf(path, "--debug-dump=info", "--dwarf-depth=1"))
    for unit in units:
        for flag in UNIT_FLAGS + UNIT_FLAGS_OF.get(machine, []):
            expect(flag in unit, path, f"has a unit that was compiled without {flag}")
    if option("debug"):
        expect(units, path, "has no debug information to look for flags in")


def check_marks(path):
    """main() begins with ENDBR64, as everything does that may be called through a pointer."""
    symbol = re.search(r": (\w+) +\d+ FUNC +GLOBAL +DEFAULT +\d+ main$", readelf(path, "--syms"), re.M)
    if symbol:
        with open(path, "rb") as file:
            file.seek(int(symbol.group(1), 16))  # in code of -z separate-code, the file offset is the address
            expect(file.read(4) == b"\xf3\x0f\x1e\xfa", path, "was compiled without ENDBR64 (-fcf-protection)")
    expect(re.search(r"x86 feature: .*SHSTK", readelf(path, "--notes")), path, "has no note for shadow stacks")


def check_dynamic(path, machine):
    """A program that runs on this host."""
    symbols = readelf(path, "--dyn-syms")
    expect("__stack_chk_fail" in symbols, path, "was compiled without -fstack-protector-strong")
    if option("b_sanitize") == "none" and option("buildtype") != "debug":
        fortified = set(re.findall(r"\b(__\w+_chk)@", symbols))
        expect(fortified, path, "calls no checking function: compiled without _FORTIFY_SOURCE")
    check_units(path, machine)
    if machine == "x86-64":
        check_marks(path)


def check_agent(path, machine):
    """A program that runs in any environment: static, small."""
    expect("INTERP" not in [kind for kind, _, _ in segments(path)], path, "is not static")
    expect("NEEDED" not in readelf(path, "--dynamic"), path, "needs libraries")
    if machine == "x86-64":
        expect(os.path.getsize(path) <= AGENT_BYTES, path, f"has {os.path.getsize(path)} bytes, at most {AGENT_BYTES}")
        with open(path, "rb") as file:  # it is stripped: count loads of the canary, mov %fs:0x28,%reg
            loads = len(re.findall(rb"\x64[\x48\x4c]\x8b[\x04-\x3c]\x25\x28\x00\x00\x00", file.read(), re.S))
        expect(loads >= 20, path, f"was compiled without -fstack-protector-strong ({loads} loads of the canary)")


binaries = shipped()
names = [os.path.basename(path) for path in binaries]
for program in PROGRAMS:
    check(program in names, f"{program} is installed: {names}")
for binary in binaries:
    head = readelf(binary, "--file-header")
    cpu = "AArch64" if "AArch64" in head else "x86-64" if "X86-64" in head else "another"
    check_layout(binary, head)
    check_mode(binary)
    (check_agent if os.path.basename(binary).startswith("tenon-agent") else check_dynamic)(binary, cpu)
check(not wrong, "hardened binaries:\n" + "\n".join(sorted(set(wrong))))
print(f"{len(binaries)} binaries are hardened")
