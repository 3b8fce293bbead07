import time


def test_a():
    time.sleep(0.6)
