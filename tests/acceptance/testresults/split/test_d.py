import time


def test_d():
    time.sleep(0.1)
