import pytest


def test_ok():
    pass


def test_fails():
    basket = {"apples": 2}
    assert basket["apples"] == 3, "two apples are not <three> & \u00e4"


@pytest.mark.skip(reason="not today")
def test_skipped():
    pass


@pytest.fixture
def broken():
    raise RuntimeError("no database")


def test_error(broken):
    pass
