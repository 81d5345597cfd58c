"""Updates per second of IQL, SAC and RLPD on a GPU, recorded as CUDA graphs and plain.

The same code, networks, batches and data; drawing the batch is part of an update. The two are
measured in turns, and the best turn counts.

    python benchmarks/learners_cuda.py [--quick] [--json results/learners_cuda.json]
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from learners import SETTINGS, random_transitions
from results import parse_arguments, write_results
from robopref.policies.iql import IQLConfig
from robopref.policies.recorded import RecordedUpdates
from robopref.policies.registry import make_policy
from robopref.policies.rlpd import RLPDConfig
from robopref.policies.sac import SACConfig
from robopref.processes import one_thread
from robopref.structures import TransitionBatch

CONFIGS = {"iql": IQLConfig, "sac": SACConfig, "rlpd": RLPDConfig}


def updates(
    config: IQLConfig | SACConfig, data: TransitionBatch, batch: int, recorded: bool
) -> Callable[[float], float]:
    """A function from seconds to updates per second, all of them finished by the GPU."""
    policy = make_policy(config, data, seed=0, device="cuda")
    generator = torch.Generator("cuda").manual_seed(0)
    size = batch * policy.batches_per_update
    replayed = RecordedUpdates(policy, generator)

    def update() -> None:
        if recorded:
            replayed.from_source(data, size)
        else:
            policy.update(data.draw(size, generator), generator)

    def rate(seconds: float) -> float:
        torch.cuda.synchronize()
        count, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds:
            for _ in range(50):
                update()
            torch.cuda.synchronize()
            count += 50
        return count / elapsed

    rate(0.2)
    return rate


def main() -> None:
    """Measures and prints."""
    arguments = parse_arguments(__doc__.splitlines()[0], "learners_cuda")
    if not torch.cuda.is_available():
        print("no CUDA here: nothing measured")
        return
    rounds, seconds = (2, 0.5) if arguments.quick else (4, 1.0)
    one_thread()
    data = random_transitions().to("cuda")
    card = torch.cuda.get_device_name()
    table: list[dict[str, object]] = []
    headline: dict[str, float] = {}
    for name, config_class in CONFIGS.items():
        for width, batch in SETTINGS:
            config = config_class(hidden=[width, width])
            ways = {way: updates(config, data, batch, way == "graph") for way in ("plain", "graph")}
            rates = dict.fromkeys(ways, 0.0)
            for _ in range(rounds):
                for way, rate in ways.items():
                    rates[way] = max(rates[way], rate(seconds))
            suffix = "" if width == 256 else f"_{width}"
            headline[f"{name}_graph_ratio{suffix}"] = round(rates["graph"] / rates["plain"], 2)
            for way, value in rates.items():
                row = {"algorithm": name, "hidden": f"2x{width}", "batch": batch, "card": card}
                table.append({**row, "updates": way, "updates_per_second": round(value, 1)})
                print(f"{name:5} 2x{width:<4} batch {batch:<4} {way:6} {value:8.1f} updates/s")
    for name, value in headline.items():
        print(f"{name}: {value}")
    write_results(arguments.json, headline, table, ["torch"])


if __name__ == "__main__":
    main()
