# deadline: 120
"""A short run of tests/chaos: about sixty jobs on this host while every kind of our processes is killed and stopped."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "chaos"))
import chaos  # noqa: E402

sys.exit(chaos.main(["--tasks", "60", "--calm-after", "30"]))
