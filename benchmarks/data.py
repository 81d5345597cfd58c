"""Batches: robopref's `Sequences` beside robomimic's `SequenceDataset`, on the same files.

Low-dim: robomimic keeps all in memory and its samples made ready (`hdf5_cache_mode="all"`).
Images: both read them from the file as they go; robomimic caches the rest. Batch size, sequence
length and next observations are robomimic's defaults for BC-RNN. Both run in one process on one
core, in turns; `rss_share` is what lazy reading adds to the memory of a process of its own, by
the bytes of images in the file.

    python benchmarks/data.py [--quick] [--json results/data.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: more threads than cores collapse

import contextlib
import io
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from results import parse_arguments, write_results
from robopref.data.batches import Sequences
from robopref.data.lazy import load_dataset_lazily
from robopref.data.robomimic import load_dataset

LOW_DIM = {"object": 10, "robot0_eef_pos": 3, "robot0_eef_quat": 4, "robot0_gripper_qpos": 2}
"""Lift's observations and their sizes."""
CAMERAS = ("agentview_image", "robot0_eye_in_hand_image")
LENGTH = 10
IMAGE = (84, 84, 3)


def write_file(path: Path, episodes: int, steps: int, images: bool) -> int:
    """Writes a file as robomimic's scripts do; returns its bytes of images."""
    rng = np.random.default_rng(0)
    size = 0
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = "{}"
        for index in range(episodes):
            demo = data.create_group(f"demo_{index}")
            demo.attrs["num_samples"] = steps
            demo["actions"] = rng.uniform(-1, 1, (steps, 7))
            demo["rewards"] = np.zeros(steps)
            demo["dones"] = np.zeros(steps, dtype=np.int64)
            shown = {name: rng.normal(size=(steps + 1, width)) for name, width in LOW_DIM.items()}
            if images:
                shown |= {
                    name: rng.integers(0, 256, (steps + 1, *IMAGE), dtype=np.uint8)
                    for name in CAMERAS
                }
            for name, values in shown.items():
                demo[f"obs/{name}"], demo[f"next_obs/{name}"] = values[:-1], values[1:]
                size += 2 * values[1:].nbytes if name in CAMERAS else 0
    return size


def robomimic_batches(path: Path, batch: int, images: bool) -> Callable[[], Iterable[Any]]:
    from robomimic.utils.dataset import SequenceDataset
    from robomimic.utils.obs_utils import initialize_obs_utils_with_obs_specs
    from torch.utils.data import DataLoader

    cameras = list(CAMERAS) if images else []
    with contextlib.redirect_stdout(io.StringIO()):
        initialize_obs_utils_with_obs_specs({"obs": {"low_dim": list(LOW_DIM), "rgb": cameras}})
        dataset = SequenceDataset(
            str(path),
            obs_keys=[*LOW_DIM, *cameras],
            dataset_keys=["actions", "rewards", "dones"],
            load_next_obs=True,
            seq_length=LENGTH,
            frame_stack=1,
            get_pad_mask=True,
            hdf5_cache_mode="low_dim" if images else "all",
        )
    loader = DataLoader(dataset, batch_size=batch, shuffle=True, num_workers=0)
    return lambda: loader


def robopref_batches(path: Path, batch: int, images: bool) -> Callable[[], Iterable[Any]]:
    sequences = Sequences((load_dataset_lazily if images else load_dataset)(path), LENGTH)
    rng = np.random.default_rng(0)
    return lambda: sequences.epoch(batch, rng)


def samples_per_second(batches: Callable[[], Iterable[Any]], size: int, seconds: float) -> float:
    """Rate over at least `seconds`; epoch follows epoch."""
    count, start = 0, time.perf_counter()
    while True:
        for _ in batches():
            count += size
            elapsed = time.perf_counter() - start
            if elapsed >= seconds:
                return count / elapsed


def measure(path: Path, batch: int, images: bool, rounds: int, seconds: float) -> dict[str, float]:
    """Best rate of each, taken in turns so that a busy machine slows both alike."""
    sides = {"robomimic": robomimic_batches, "robopref": robopref_batches}
    batches = {name: make(path, batch, images) for name, make in sides.items()}
    rates = dict.fromkeys(sides, 0.0)
    for _ in range(rounds):
        for name in sides:
            rates[name] = max(rates[name], samples_per_second(batches[name], batch, seconds))
    return rates


def memory_of_lazy_reading(path: Path, batch: int) -> int:
    """Bytes that two epochs add to the peak of a process that has already read one episode."""
    command = [sys.executable, __file__, "--memory-of", str(path), str(batch)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return int(said)


def peak_memory() -> int:
    """Bytes of this process at their peak. `getrusage` would count the parent's too."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])  # type: ignore[index]


def print_memory(path: Path, batch: int) -> None:
    warm = Sequences(load_dataset_lazily(path, episodes=[0]), 1)
    warm.batch(np.zeros(1, dtype=np.int64))  # loads what the libraries load once
    before = peak_memory()
    sequences = Sequences(load_dataset_lazily(path), LENGTH)
    for _ in range(2):
        for _ in sequences.epoch(batch, np.random.default_rng(0)):
            pass
    print(peak_memory() - before)


def main() -> None:
    """Measures and prints."""
    arguments = parse_arguments(__doc__.splitlines()[0], "data")
    rounds, seconds = (3, 3.0) if arguments.quick else (5, 8.0)
    episodes = 60 if arguments.quick else 120
    torch.set_num_threads(1)
    table: list[dict[str, Any]] = []
    headline: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, batch, count, steps in (("lowdim", 100, 200, 50), ("image", 16, episodes, 100)):
            path = Path(folder) / f"{kind}.hdf5"
            images = write_file(path, count, steps, kind == "image")
            rates = measure(path, batch, kind == "image", rounds, seconds)
            headline[f"{kind}_ratio_vs_robomimic"] = round(
                rates["robopref"] / rates["robomimic"], 1
            )
            for name, rate in rates.items():
                row = {"data": kind, "batch": batch, "length": LENGTH, "loader": name}
                table.append({**row, "samples_per_second": round(rate)})
                print(
                    f"{kind:6}  batch {batch:3} of {LENGTH} steps  {name:9} {rate:10.0f} samples/s"
                )
        added = memory_of_lazy_reading(path, batch)
    headline["rss_share"] = round(added / images, 4)
    print(
        f"robopref gives {headline['lowdim_ratio_vs_robomimic']} times the low-dim samples and "
        f"{headline['image_ratio_vs_robomimic']} times the images; lazy reading of "
        f"{images / 1e6:.0f} MB of images takes {added / 1e6:.0f} MB"
    )
    packages = ["robopref", "robomimic", "torch", "numpy", "h5py"]
    write_results(arguments.json, headline, table, packages)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--memory-of"]:
        print_memory(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
