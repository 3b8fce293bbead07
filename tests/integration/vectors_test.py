#!/usr/bin/env python3
"""The golden vectors of the message header, read by an implementation that shares nothing with ours: what the header's
table in proto/codec.h says is enough to write one."""

import os
import struct
import sys

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HEADER = struct.Struct("<4sHHHHIQQQII")
FIELDS = ("kind", "source", "destination", "flags", "sequence", "in_reply_to", "task", "attempt", "length")

good = bad = 0
with open(os.path.join(REPOSITORY, "proto", "vectors.txt"), encoding="ascii") as file:
    for number, line in enumerate(file, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0].startswith("!"):
            bad += 1
            continue
        message = bytes.fromhex(words[-1])
        magic, version, *values = HEADER.unpack_from(message)
        wanted = [int(word) for word in words[1:-1]]
        if (magic, version) != (b"TNN1", 1) or values != wanted or values[-1] != len(message) - HEADER.size:
            print(f"vectors.txt:{number}: {words[0]}\n   is: {dict(zip(FIELDS, values))}\n want: "
                  f"{dict(zip(FIELDS, wanted))}", file=sys.stderr)
            sys.exit(1)
        good += 1
if good < 40 or bad < 5:
    print(f"vectors.txt holds {good} messages and {bad} that must be refused: some are missing", file=sys.stderr)
    sys.exit(1)
print(f"{good} messages, {bad} that must be refused")
