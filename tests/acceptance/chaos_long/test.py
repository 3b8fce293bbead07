# deadline: 120
# long: yes
"""A longer run of tests/chaos with a fresh seed: about sixty tasks, half a minute of faults."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "chaos"))
import chaos  # noqa: E402

sys.exit(chaos.main(["--tasks", "60", "--calm-after", "30"]))
