#!/usr/bin/env python3
"""An engine's socket that the executor's own user may not connect to: which user, whose socket, what to do. And what a
container's root leaves in folders of the executor's goes away."""

import glob
import os
import socket
import tempfile

import tenon
import users
from tenon import check, check_equal, check_in

CONFIG = ("version: 2.1\njobs:\n  build:\n    docker: [{image: 'alpine:latest'}]\n"
          "    steps: [{run: {name: leave, command: '%s'}}]\n")


def reason(project, path):
    """Why a job waits for an engine at `path` in vain."""
    result = tenon.run(["run", "--json"], project, docker="unix://" + path).expect(3)
    return result.job("build")["reason"]


def closed_sockets(folder):
    """Sockets that are root's alone, of a group that nobody gave, or in a folder that is root's."""
    project = tenon.project(config=CONFIG % "true")
    path = folder + "/sub/d.sock"
    start = f"the docker executor is unavailable: the Docker Engine at unix://{path} cannot be reached: Permission denied; "
    end = ", set DOCKER_HOST, or use --executor docker=machine"
    os.makedirs(folder + "/sub")
    os.chmod(folder + "/sub", 0o711)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(8)
        os.chmod(path, 0o660)
        check_equal(reason(project, path), f"{start}user tenon-docker may not connect to {path} (owner root, group root, "
                    f"mode 0660): give it a group that may write (chgrp GROUP {path}; chmod 660 {path}; of an engine: "
                    f"dockerd --group){end}", "a socket of root's group")
        users.let_in(path)
        os.chmod(folder + "/sub", 0o700)
        check_equal(reason(project, path), f"{start}user tenon-docker may not enter {folder}/sub (owner root, group root, "
                    f"mode 0700): chgrp tenon-docker {folder}/sub; chmod g+x {folder}/sub{end}", "a folder of root's")


def left_behind():
    """A folder that only root could remove, in the one that is mounted for the agent's socket."""
    command = "mkdir -p /.tenon/run/deep/er; touch /.tenon/run/deep/er/x; chmod 0 /.tenon/run/deep/er; id -u"
    result = tenon.run(["run", "--json"], tenon.project(config=CONFIG % command),
                       docker=os.environ["TENON_TEST_DOCKER_HOST"]).expect(0)
    check_equal(result.log("build", "leave"), "0\n", "who the job is")
    logs = [tenon.read(path) for path in glob.glob(os.environ["XDG_STATE_HOME"] + "/tenon/runs/*/tenon.log")]
    check_in("pipeline", "".join(logs), "the logs")
    check("cannot remove" not in "".join(logs), "something was left: " + "".join(logs))


if "TENON_TEST_NO_DOCKER" in os.environ:
    tenon.skip(os.environ["TENON_TEST_NO_DOCKER"])
left_behind()
if users.own():
    closed_sockets(tempfile.mkdtemp(prefix="e."))
