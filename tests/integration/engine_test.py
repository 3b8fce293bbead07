"""The private Docker Engine of the tests: it starts beside others, takes over what an interrupted run left, and leaves
nothing when it stops."""

import os
import shutil
import signal
import tempfile

import engine
import procs
import tenon
from tenon import check, check_equal

other = tenon.engine()
before = {container["Id"] for container in other.containers()}
images = other.image_names()

private = engine.PrivateEngine(tempfile.mkdtemp())
check(private.start() != other.host, "it has an address of its own")
check_equal(private.api().image_names(), set(), "it sees no images of another engine")
folder = private.running["run"]
pids = dict(private.running["pids"])
check_equal(sorted(pids), ["containerd", "dockerd"], "its processes")

# A test run that was killed leaves the engine running; the next one ends that first.
late = engine.PrivateEngine(private.cache)
late.start()
check_equal([procs.alive(pid) for pid in pids.values()], [False, False], "the interrupted run's processes")
check(not os.path.exists(folder), "the interrupted run's folder")

# One whose daemon died without cleaning up.
procs.kill(late.running["pids"]["dockerd"], signal.SIGKILL)
folder = late.running["run"]
late.stop()
check_equal(procs.marked(folder), [], "processes after stop")
check_equal(procs.mounts_under(late.cache) + procs.mounts_under(folder), [], "mounts after stop")
check(not os.path.exists(folder), "folder after stop")
check(not late.load_record(), "record after stop")
late.stop()
shutil.rmtree(late.cache)

check_equal({container["Id"] for container in other.containers()}, before, "containers of the other engine")
check_equal(other.image_names(), images, "images of the other engine")
