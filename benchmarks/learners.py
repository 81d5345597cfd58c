"""Updates per second of IQL and SAC beside d3rlpy, stable-baselines3 and torchrl.

Same network, batch and data, one thread each, every learner with its own sampling. Learners are
measured in turns, so that a busy machine slows all alike, and the best turn counts. Each peer lives
in an environment of its own, made under `.venv-peers` at first use; `--peers` names another place.

`gemm_share` is how much of an IQL update's time its matrix products would take at the rate of a
product of two 256 x 256 matrices by `torch.mm`, measured in the same turns. It can be above 1,
since large layers learn through oneDNN; `gemm_share_of_onednn` is against the rate of that.
`five_seed_speedup` is the updates per second of five `robopref train` started together by a sweep,
over those of one by itself.

    python benchmarks/learners.py [--quick] [--json results/learners.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: more threads than cores collapse

import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from peers.environments import peer_python
from results import ROBOPREF, argument_parser, write_results
from robopref.networks.onednn import AVAILABLE
from robopref.policies.iql import IQLConfig
from robopref.policies.registry import make_policy
from robopref.policies.sac import SACConfig
from robopref.processes import one_thread
from robopref.structures import TransitionBatch

OBSERVATION_DIM, ACTION_DIM, TRANSITIONS = 39, 4, 100_000
SETTINGS = ((256, 256), (64, 64))
"""Width of both hidden layers, and batch size."""
PEERS = {"sac": ("sb3", "d3rlpy", "torchrl"), "iql": ("d3rlpy", "torchrl")}
SAMPLE = Path(__file__).parent.parent / "assets" / "samples" / "button_press.hdf5"


class Peer:
    """A process that measures one learner when it is told to."""

    def __init__(self, home: Path, peer: str, algorithm: str, setting: tuple[int, int]) -> None:
        python = peer_python(home, peer)
        script = Path(__file__).parent / "peers" / "learners.py"
        self._process = subprocess.Popen(
            [python, script, peer, algorithm, *map(str, setting), home / "data.npz"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        while not (line := self._read()).startswith("ready"):
            pass  # peers greet on standard output
        self.torch_version = line.split()[1]

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args}: ended; run it by hand to see why")
        return line

    def rate(self, seconds: float) -> float:
        """Updates per second over so long."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        return float(self._read())

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()


def random_transitions() -> TransitionBatch:
    """Numbers of the right shapes; speed does not depend on their values."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(TRANSITIONS, *shape, generator=generator)

    return TransitionBatch(
        normal(OBSERVATION_DIM),
        normal(ACTION_DIM).tanh(),
        normal(),
        normal(OBSERVATION_DIM),
        torch.zeros(TRANSITIONS),
    )


def own_rate(
    config: IQLConfig | SACConfig, data: TransitionBatch, batch: int
) -> Callable[[float], float]:
    """A function from seconds to robopref's updates per second, sampling included."""
    policy, generator = make_policy(config, data, seed=0), torch.Generator().manual_seed(0)

    def rate(seconds: float) -> float:
        count, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds:
            rows = torch.randint(len(data), (batch,), generator=generator)
            policy.update(data.take(rows), generator)
            count += 1
        return count / elapsed

    rate(0.2)
    return rate


def product_rate(seconds: float, onednn: bool = False) -> float:
    """Multiplications and additions per second of a product of two 256 x 256 matrices, by PyTorch's
    own product (MKL on a CPU) or by oneDNN.
    """
    left, right, out = torch.randn(3, 256, 256)

    def multiply() -> None:
        if onednn:
            torch.ops.mkldnn._linear_pointwise(left, right, None, "none", [], "")
        else:
            torch.mm(left, right, out=out)

    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        multiply()
        count += 1
    return count * 2 * 256**3 / elapsed


def iql_operations(width: int, batch: int) -> int:
    """Multiplications and additions in the matrix products of one IQL update."""
    state, pair = OBSERVATION_DIM, OBSERVATION_DIM + ACTION_DIM
    # Inputs, outputs, copies, forward passes, backward passes.
    networks = (
        (pair, 1, 2, 1, 0),
        (pair, 1, 2, 1, 1),
        (state, 1, 1, 2, 1),
        (state, ACTION_DIM, 1, 1, 1),
    )
    total = 0
    for inputs, outputs, copies, forward, backward in networks:
        weights = inputs * width + width * width + width * outputs
        # Backward: the weights' gradients, and those of all layers' inputs but the first.
        total += copies * (forward * weights + backward * (2 * weights - inputs * width))
    return 2 * batch * total


def measure(
    home: Path, rounds: int, seconds: float
) -> tuple[list[dict[str, object]], dict[str, float], str]:
    """Rates of all learners in all settings, as rows and as headline figures."""
    data = random_transitions()
    home.mkdir(exist_ok=True)
    names = ("observations", "actions", "rewards", "next_observations")
    np.savez(home / "data.npz", **{name: getattr(data, name).numpy() for name in names})
    table: list[dict[str, object]] = []
    headline: dict[str, float] = {}
    for algorithm, config_class in (("iql", IQLConfig), ("sac", SACConfig)):
        for width, batch in SETTINGS:
            config = config_class(hidden=[width, width])
            peers = {name: Peer(home, name, algorithm, (width, batch)) for name in PEERS[algorithm]}
            learners = {"robopref": own_rate(config, data, batch)}
            learners |= {name: peer.rate for name, peer in peers.items()}
            rates, products, onednn = dict.fromkeys(learners, 0.0), 0.0, 0.0
            for _ in range(rounds):
                products = max(products, product_rate(seconds / 4))
                if AVAILABLE:
                    onednn = max(onednn, product_rate(seconds / 4, onednn=True))
                for name, rate in learners.items():
                    rates[name] = max(rates[name], rate(seconds))
            for peer in peers.values():
                peer.close()
            own, fastest = rates["robopref"], max(rates[name] for name in peers)
            suffix = "" if width == 256 else f"_{width}"
            headline[f"{algorithm}_ratio_vs_fastest_peer{suffix}"] = round(own / fastest, 2)
            if algorithm == "iql" and width == 256:
                operations = iql_operations(width, batch)
                headline["gemm_share"] = round(operations * own / products, 3)
                headline["product_gflops"] = round(products / 1e9, 1)
                if AVAILABLE:
                    headline["gemm_share_of_onednn"] = round(operations * own / onednn, 3)
                    headline["onednn_gflops"] = round(onednn / 1e9, 1)
            for name, rate in rates.items():
                row = {"algorithm": algorithm, "hidden": f"2x{width}", "batch": batch}
                table.append({**row, "learner": name, "updates_per_second": round(rate, 1)})
                print(f"{algorithm}  2x{width:<4} batch {batch:<4} {name:9} {rate:8.1f} updates/s")
    return table, headline, peers["torchrl"].torch_version


def five_seed_speedup(updates: int, repeats: int) -> float:
    """Updates per second of five trainings started together, over those of one by itself.

    One pair of measurements differs from the next by a tenth: so many of them are averaged.
    """

    def rates(options: list[str]) -> list[float]:
        with tempfile.TemporaryDirectory() as folder:
            command = [ROBOPREF, "train", *options]
            command += [f"dataset={SAMPLE}", f"training.updates={updates}", "device=cpu"]
            command += [f"training.log_every={updates}", f"training.checkpoint_every={updates}"]
            command += ["evaluation.episodes=0"]
            subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)
            runs = sorted(Path(folder).glob("runs/train/**/metrics.jsonl"))
            lines = [json.loads(path.read_text()) for path in runs]
        return [line["updates_per_second"] for line in lines]

    found: list[float] = []
    for _ in range(repeats):
        alone = np.mean(rates(["training.seed=0"]) + rates(["training.seed=1"]))
        together = rates(["-m", "training.seed=range(5)", "hydra.launcher.n_jobs=5"])
        assert len(together) == 5
        found.append(float(sum(together) / alone))
    return float(np.mean(found))


def main() -> None:
    """Measures and prints."""
    parser = argument_parser(__doc__.splitlines()[0], "learners")
    parser.add_argument("--peers", type=Path, default=Path(".venv-peers"))
    arguments = parser.parse_args()
    rounds, seconds, updates = (3, 2.0, 1000) if arguments.quick else (8, 4.0, 3000)
    one_thread()
    table, headline, torch_version = measure(arguments.peers.resolve(), rounds, seconds)
    print(f"peers run on torch {torch_version}", flush=True)
    repeats = 1 if arguments.quick else 3
    headline["five_seed_speedup"] = round(five_seed_speedup(updates, repeats), 2)
    for name, value in headline.items():
        print(f"{name}: {value}")
    write_results(arguments.json, headline, table, ["torch"])


if __name__ == "__main__":
    main()
