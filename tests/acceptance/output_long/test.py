# long: yes
# deadline: 900
"""The acceptance test `output` with a line of 100 MB, 10 million lines and 1 GB of output."""

import os
import runpy

os.environ["TENON_TEST_OUTPUT_LONG"] = "yes"
runpy.run_path(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "output", "test.py"),
               run_name="__main__")
