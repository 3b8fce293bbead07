"""The test runner itself: what passes, fails and is skipped, deadlines, and what is left behind."""

import argparse
import contextlib
import io
import os
import sys

import procs
import run
from tenon import check, check_equal, check_in

OPTIONS = argparse.Namespace(long=False, only="normal", filter=None, list=False, verbose=False)


def outcome(code, deadline=20):
    """Runs one test of Python text and returns (passed, failed, skipped, what was printed)."""
    runner = run.Run(OPTIONS)
    test = run.Test("unit", "sample", [sys.executable, "-c", code], None)
    test.deadline = deadline
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        runner.run_test(test, "/nonexistent")
    os.rmdir(runner.root)
    return len(runner.passed), len(runner.failed), len(runner.skipped), printed.getvalue()


check_equal(outcome("print('hello')")[:3], (1, 0, 0), "status 0 passes")
check("hello" not in outcome("print('hello')")[3], "the output of a passed test is not printed")

failed = outcome("import sys; print('a reason'); sys.exit(1)")
check_equal(failed[:3], (0, 1, 0), "status 1 fails")
check_in("a reason", failed[3], "the output of a failed test is printed")
check_in("exit status 1", failed[3], "the status of a failed test is printed")

killed = outcome("import os; os.kill(os.getpid(), 11)")
check_equal(killed[:3], (0, 1, 0), "death by a signal fails")
check_in("killed by signal 11", killed[3], "the signal is printed")

skipped = outcome("import sys; print('first\\nno such thing', file=sys.stderr); sys.exit(77)")
check_equal(skipped[:3], (0, 0, 1), "status 77 skips")
check_in("no such thing", skipped[3], "the reason is printed")

late = outcome("import signal; signal.pause()", deadline=0.5)
check_equal(late[:3], (0, 1, 0), "a test that does not end fails at its deadline")
check_in("killed at its deadline of 0.5 s", late[3], "the deadline is printed")

# A process in a session of its own, whose parent is gone, is found and ended all the same.
left = outcome("import subprocess as s; print(s.Popen(['sleep', '600'], start_new_session=True).pid)")
check_equal(left[:3], (0, 1, 0), "a test that leaves a process fails")
check_in("sleep 600", left[3], "what was left is named")
check(not procs.alive(int(left[3].split("left behind: process ")[1].split()[0])), "what was left is ended")

# A sanitizer's report of any process counts, even when the test itself went well.
report = outcome("import os; open(os.environ['TENON_TEST_FOLDER'] + '/reports/sanitizer.1', 'w').write('heap-use-after-free')")
check_equal(report[:3], (0, 1, 0), "a sanitizer's report fails the test")
check_in("heap-use-after-free", report[3], "the report is printed")
