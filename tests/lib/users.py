"""The users that processes of Tenon have where root starts them (tools/users), and how tests let them in."""

import os
import pwd

# A group that nobody is in, as an engine's may have any: a process gets it because the socket has it.
SOCKET_GROUP = 64899


def own():
    """Do processes that root starts run as users of their own here?"""
    try:
        pwd.getpwnam("tenon-docker")
    except KeyError:
        return False
    return os.geteuid() == 0


def socket_group():
    """What an engine of a test is told as --group."""
    return str(SOCKET_GROUP) if own() else "root"


def let_in(path):
    """Opens a socket that root made, and its folder, to the group that a process gets for it."""
    if own():
        os.chmod(os.path.dirname(path), 0o711)
        os.chown(path, 0, SOCKET_GROUP)
        os.chmod(path, 0o660)
