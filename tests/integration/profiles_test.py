#!/usr/bin/env python3
"""docs/confinement.md is what the profiles say."""
# deadline: 20

import difflib
import os
import subprocess
import sys

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def main():
    """Compares the file with what the program prints."""
    printed = subprocess.run([os.path.join(os.environ["TENON_BUILD"], "tools/tenon-profiles")], check=True,
                             capture_output=True, text=True, timeout=15).stdout
    with open(os.path.join(REPOSITORY, "docs/confinement.md"), encoding="utf-8") as file:
        written = file.read()
    if printed == written:
        return 0
    print("".join(difflib.unified_diff(written.splitlines(True), printed.splitlines(True), "docs/confinement.md",
                                       "tenon-profiles")))
    print("the profiles have changed: build/tools/tenon-profiles > docs/confinement.md")
    return 1


if __name__ == "__main__":
    sys.exit(main())
