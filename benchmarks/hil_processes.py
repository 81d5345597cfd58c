"""Actor, learner and an arm's server as processes of their own, for the benchmarks of sessions."""

from __future__ import annotations

import contextlib
import random
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import numpy as np

from results import ROBOPREF
from robopref.data.robomimic import load_dataset
from robopref.hil.log import StepLog


class Processes:
    """Actor and learner, and an arm's server if there is to be one, as processes."""

    def __init__(
        self,
        folder: Path,
        sizes: tuple[int, int],
        env: tuple[str, ...],
        actor: tuple[str, ...],
        learner: tuple[str, ...],
        arm: tuple[str, ...] = (),
    ) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder, self._sizes = folder, sizes
        addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
        common = [*env, f"link.address={addresses[0]}", "steps=0"]
        self._actor = ["actor", *common, *actor]
        self._learner = ["learner", *common, "name=arm", "device=cpu", *learner]
        self.arm: subprocess.Popen[bytes] | None = None
        if arm:
            self.arm = self._start(["robot", *env, *arm, f"link.address={addresses[1]}"])
            self._actor += [f"robot.address={addresses[1]}"]
            while "steps per second" not in (told := (folder / "robot.log").read_text()):
                if self.arm.poll() is not None:
                    raise RuntimeError(told[-2000:])
                time.sleep(0.2)
        self.learner = self._start(self._learner)
        self.actor = self._start(self._actor)

    def _start(self, arguments: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / f"{arguments[0]}.log").open("a") as output:
            return subprocess.Popen(
                [ROBOPREF, "hil", *arguments], cwd=self.folder, stdout=output, stderr=output
            )

    def stored(self) -> int:
        """Steps on the learner's disk."""
        path = self.folder / "runs/hil/arm/steps/robot.steps"
        return StepLog(path, *self._sizes, writes=False).last if path.exists() else 0

    def wait_for(self, steps: int) -> None:
        """Until the learner has so many more."""
        wanted, end = self.stored() + steps, time.monotonic() + 120.0 + steps / 10.0
        while self.stored() < wanted:
            if time.monotonic() > end:
                raise RuntimeError((self.folder / "learner.log").read_text()[-2000:])
            time.sleep(1.0)  # the file is read whole

    def kill(self, rng: random.Random) -> int:
        """Kills one of them and starts it again; steps that were stored and are not any more."""
        time.sleep(rng.uniform(0.0, 2.0))
        before = self.stored()
        if rng.random() < 0.5:
            self.actor.kill()
            self.actor.wait()
            self.actor = self._start(self._actor)
        else:
            self.learner.kill()
            self.learner.wait()
            self.learner = self._start(["learner", "resume=runs/hil/arm"])
        lost = max(before - self.stored(), 0)
        self.wait_for(20)
        return lost

    def finish(self) -> tuple[float, int]:
        """Ends both; the actor's 99th percentile of lateness in ms, and steps lost or doubled."""
        for process in filter(None, (self.actor, self.learner, self.arm)):
            process.send_signal(signal.SIGTERM)
            process.wait(120)
        spool, kept = (
            StepLog(self.folder / "runs/hil" / path, *self._sizes, writes=False).all()
            for path in ("robot-actor/robot.steps", "arm/steps/robot.steps")
        )
        assert spool is not None
        assert kept is not None
        late = re.findall(r"late by ([\d.]+) ms", (self.folder / "actor.log").read_text())
        same = np.array_equal(spool.sequence, kept.sequence)
        same = same and np.array_equal(spool.observations, kept.observations)
        assert load_dataset(self.folder / "runs/hil/arm/session.hdf5").num_steps == len(kept)
        wrong = 0 if same else abs(len(spool) - len(kept)) or 1
        return float(late[-1]) if late else float("nan"), wrong


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with contextlib.ExitStack() as held:
        found = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in found:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in found]
