# long: yes
# deadline: 5400
"""Every fuzz target for a minute (tests/fuzz/run). It makes builds of its own, so once is enough: with the normal
build. TENON_TEST_FUZZ_SECONDS sets another time for each, TENON_TEST_FUZZ_TARGETS chooses some of them."""

import os
import shutil
import subprocess
import sys

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NEEDED = ("clang", "llvm-cov", "llvm-profdata")


def skip(why):
    print(why, file=sys.stderr)
    sys.exit(77)


def main():
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        skip(f"no {', '.join(missing)} (Debian packages clang, llvm, libclang-rt-14-dev)")
    if os.environ["TENON_BUILD"].endswith("asan"):
        skip("the targets have a sanitizer build of their own, which ran with the normal build")
    seconds = os.environ.get("TENON_TEST_FUZZ_SECONDS", "60")
    targets = os.environ.get("TENON_TEST_FUZZ_TARGETS", "").split()
    folder = os.environ["TENON_TEST_FOLDER"]
    done = subprocess.run([sys.executable, "-B", f"{REPOSITORY}/tests/fuzz/run", "--seconds", seconds, "--jobs", "2",
                           "--cache", f"{folder}/fuzz", "--coverage", *targets], check=False)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
