import time


def test_b():
    time.sleep(0.1)
