import time


def test_c():
    time.sleep(0.1)
