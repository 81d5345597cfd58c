"""A session under faults: robot, actor and learner as processes that are killed and cut off.

The arm is served as a real one is (Drawer Open at 20 Hz, a scripted person corrects). Faults come
one after another at random moments: the actor, the learner or the robot's server is killed and
started again, or one of the two connections is cut for 1 to 60 s, by ends of connections or by
silence. After each, training has to go on: 20 more steps on the learner's disk and a newer version
of the weights. Whenever commands ceased, the arm must have stood still within the watchdog's time.

    python benchmarks/hil_soak.py [--quick] [--faults 100] [--json results/hil_soak.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: more threads than cores collapse

import random
import re
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hil_processes import free_ports
from results import ROBOPREF, argument_parser, write_results
from robopref.hil.log import StepLog

SIZES = (39, 4)
"""Of Drawer Open's observations and actions."""
TASK = ("env=metaworld/drawer-open-v3", "horizon=100")
LIMITS = (
    "limits.low=[-0.5,0.3,0]", "limits.high=[0.5,1,0.5]", "limits.speed=0.25", "limits.step=2",
    "limits.per_action=0.01",
)  # fmt: skip
WATCHDOG_S, RATE_HZ = 0.5, 20.0
FAULTS = ("actor killed", "learner killed", "robot killed", "learner cut off", "robot cut off")
LONGEST_CUT_S = 60.0


class Proxy:
    """A connection that can be cut: forwards what comes at its own port to another one."""

    def __init__(self, target: int) -> None:
        self._target, self._links = target, list[tuple[socket.socket, socket.socket]]()
        self._open, self._silent = True, False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, seconds: float, silent: bool) -> None:
        """Nothing passes for so long: connections end, or stay and are silent."""
        self._open, self._silent = silent, silent
        if not silent:
            self._end_links()
        time.sleep(seconds)
        self._open, self._silent = True, False
        if silent:  # what was on its way is lost
            self._end_links()

    def _end_links(self) -> None:
        links, self._links = self._links, []
        for link in links:
            for end in link:
                end.close()

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            try:
                if not self._open:
                    raise OSError
                far = socket.create_connection(("127.0.0.1", self._target), 2.0)
            except OSError:
                near.close()
                continue
            link = (near, far)
            self._links.append(link)
            threading.Thread(target=self._forward, args=link, daemon=True).start()

    def _forward(self, near: socket.socket, far: socket.socket) -> None:
        try:
            while True:
                for end in select.select((near, far), (), (), 1.0)[0]:
                    part = end.recv(65536)
                    if not part:
                        return
                    if not self._silent:
                        (far if end is near else near).sendall(part)
        except (OSError, ValueError):
            return  # cut, or one end is gone
        finally:
            near.close()
            far.close()


class Session:
    """The three processes, and the connections between them."""

    def __init__(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder = folder
        ports = dict(zip(("learner", "robot"), free_ports(2), strict=True))
        self.proxies = {name: Proxy(port) for name, port in ports.items()}
        self._arguments = {
            "robot": [
                "robot", *TASK, *LIMITS, f"rate_hz={RATE_HZ}", f"watchdog_s={WATCHDOG_S}",
                f"link.address=127.0.0.1:{ports['robot']}",
            ],
            "learner": [
                "learner", *TASK, f"link.address=127.0.0.1:{ports['learner']}", "steps=0",
                "name=arm", "evaluation.episodes=0", "device=cpu",
            ],
            "actor": [
                "actor", *TASK, f"link.address=127.0.0.1:{self.proxies['learner'].port}", "steps=0",
                f"robot.address=127.0.0.1:{self.proxies['robot'].port}", "operator=synthetic",
            ],
        }  # fmt: skip
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        for name in self._arguments:
            self.start(name)
            if name == "robot":
                _wait(lambda: "steps per second" in self.log("robot"), "the robot starts")
        self._arguments["learner"] = ["learner", "resume=runs/hil/arm"]

    def start(self, name: str) -> None:
        """Starts one of them, again."""
        with (self.folder / f"{name}.log").open("a") as output:
            self.processes[name] = subprocess.Popen(
                [ROBOPREF, "hil", *self._arguments[name]],
                cwd=self.folder, stdout=output, stderr=output,
            )  # fmt: skip

    def log(self, name: str) -> str:
        """What it has said so far."""
        return (self.folder / f"{name}.log").read_text()

    def stored(self) -> StepLog:
        """The steps on the learner's disk."""
        return StepLog(self.folder / "runs/hil/arm/steps/robot.steps", *SIZES, writes=False)

    def last(self) -> int:
        """How many they are."""
        return (
            self.stored().last if (self.folder / "runs/hil/arm/steps/robot.steps").exists() else 0
        )

    def fault(self, kind: str, rng: random.Random) -> int:
        """Makes one, and waits until training goes on; stored steps that are not any more."""
        time.sleep(rng.uniform(0.0, 2.0))
        before, version = self.last(), self.stored().newest_version
        name, what = kind.split(" ", 1)
        if what == "killed":
            self.processes[name].kill()
            self.processes[name].wait()
            if name != "learner":
                time.sleep(rng.uniform(0.0, 2.0))
            self.start(name)
        else:
            self.proxies[name].cut(rng.uniform(1.0, LONGEST_CUT_S), rng.random() < 0.5)
        lost = max(before - self.last(), 0)
        since = self.last()
        _wait(lambda: self.last() >= since + 20, f"steps after: {kind}", self)
        _wait(lambda: self.stored().newest_version > version, f"new weights after: {kind}", self)
        return lost

    def finish(self) -> tuple[int, list[float]]:
        """Ends all three; steps lost or doubled, and how late the arm stood still each time."""
        for name in ("actor", "learner", "robot"):
            self.processes[name].send_signal(signal.SIGTERM)
            self.processes[name].wait(120)
        spool = StepLog(
            self.folder / "runs/hil/robot-actor/robot.steps", *SIZES, writes=False
        ).all()
        kept = self.stored().all()
        assert spool is not None
        assert kept is not None
        same = all(
            np.array_equal(getattr(spool, part), getattr(kept, part))
            for part in ("sequence", "observations", "actions", "next_observations", "intervened")
        )
        found = re.findall(r"still ([\d.]+) s after its last command: no comm", self.log("robot"))
        return 0 if same else abs(len(spool) - len(kept)) or 1, [float(each) for each in found]


def _wait(done: Callable[[], bool], what: str, session: Session | None = None) -> None:
    end = time.monotonic() + 150.0
    while not done():
        if time.monotonic() > end:
            logs = [session.log(name)[-1500:] for name in session.processes] if session else []
            raise RuntimeError(f"waited in vain: {what}\n" + "\n---\n".join(logs))
        time.sleep(0.2)


def main() -> None:
    """One session."""
    parser = argument_parser(__doc__.splitlines()[0], "hil_soak")
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmark-hil-soak"))
    parser.add_argument("--faults", type=int, default=100)
    options = parser.parse_args()
    faults = len(FAULTS) if options.quick else options.faults
    rng, made, lost = random.Random(0), Counter[str](), 0
    session = Session(options.folder.resolve())
    _wait(lambda: session.last() >= 40, "the first steps", session)
    for number in range(faults):
        kind = FAULTS[number % len(FAULTS)]
        lost += session.fault(kind, rng)
        made[kind] += 1
        print(f"{number + 1}: {kind}; {session.last()} steps stored", flush=True)
    more, stops = session.finish()
    headline = {
        "faults": faults,
        "lost_steps": lost + more,
        "watchdog_stops": len(stops),
        "latest_stop_s": max(stops, default=0.0),
        "watchdog_s": WATCHDOG_S,
        "steps": session.last(),
    }
    print(headline)
    write_results(options.json, headline, [dict(made)], ["torch", "metaworld", "grpcio"])


if __name__ == "__main__":
    main()
