# deadline: 120
"""A short run of tests/chaos, the same jobs and faults each time: thirty tasks on this host while every kind of our
processes is killed and stopped. With a fresh seed, more of both, and what was printed meanwhile: chaos_long."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "chaos"))
import chaos  # noqa: E402

sys.exit(chaos.main(["--tasks", "30", "--calm-after", "15", "--seed", "165722", "--not-printed"]))
