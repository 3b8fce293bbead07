"""The faults: a seeded schedule of SIGKILL and of short SIGSTOPs for the processes of one `tenon run`."""

import collections
import signal
import threading
import time

import procs

VICTIMS = ("tenon-bus", "tenon-scheduler", "tenon-output", "tenon-compiler", "tenon-executor-machine")
# tenond gives a process up that crashed more than ten times in a minute.
KILLS_MAX = 7
KILLS_WINDOW = 60
PAUSE = (0.1, 0.6)
STOP = (0.2, 2.0)
START_AFTER = 0.3


class Faults:
    """Gives faults in a thread until it is stopped. `processes` is called for the ids that may be hit. What it gives at
    which moment comes from `rng` alone; what that meets is the machine's affair."""

    def __init__(self, rng, processes, victims=VICTIMS, calm_after=None):
        self.rng, self.processes, self.victims, self.calm_after = rng, processes, victims, calm_after
        self.given = collections.Counter()
        self.log = []
        self._kills = collections.defaultdict(collections.deque)
        self._stopped = {}  # id: when it goes on
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        """Begins."""
        self._began = time.monotonic()
        self._thread.start()

    def stop(self):
        """Ends, and lets go on what was stopped."""
        self._over.set()
        self._thread.join()

    def _run(self):
        next_fault = self._began + START_AFTER
        while not self._over.is_set():
            now = time.monotonic()
            self._resume(now)
            calm = self.calm_after is not None and now - self._began > self.calm_after
            if now >= next_fault and not calm:
                self._give(now)
                next_fault = now + self.rng.uniform(*PAUSE)
            waits = [next_fault if not calm else now + 1, *self._stopped.values()]
            self._over.wait(max(0.001, min(waits) - time.monotonic()))
        self._resume(float("inf"))

    def _resume(self, now):
        for pid in [pid for pid, due in self._stopped.items() if due <= now]:
            del self._stopped[pid]
            procs.kill(pid, signal.SIGCONT)

    def _give(self, now):
        name = self.rng.choice(self.victims)
        kill = self.rng.random() < 0.6
        seconds = self.rng.uniform(*STOP)
        found = [pid for pid in self.processes() if procs.program(pid) == name and pid not in self._stopped]
        if not found:
            return
        kills = self._kills[name]
        while kills and now - kills[0] > KILLS_WINDOW:
            kills.popleft()
        if kill and len(kills) >= KILLS_MAX:
            kill, seconds = False, min(seconds, 0.5)
        if kill:
            kills.append(now)
            procs.kill(found[0], signal.SIGKILL)
        else:
            self._stopped[found[0]] = now + seconds
            procs.kill(found[0], signal.SIGSTOP)
        what = "kill" if kill else "stop"
        self.given[f"{what} {name}"] += 1
        self.log.append(f"{now - self._began:7.3f} {what} {name} {found[0]}" + ("" if kill else f" for {seconds:.2f} s"))
