"""Replay of online training: a ring of rows that holds every observation once.

An episode of `T` steps takes `T + 1` rows: row `i` has the observation before step `i`, and row
`i + 1` the one after it, so the next observation of a step is the row after it and no image is
kept twice. The last row of an episode has no step. A step is drawn only while both of its rows are
there, so nothing reaches across an episode's end, an insert that broke off, or the write position.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from robopref.data.dataset import TrajectoryDataset
from robopref.data.images import AT_ONCE, camera_images
from robopref.errors import InputError
from robopref.files import atomic_path, existing_file
from robopref.structures import Trajectory, TransitionBatch

REPLAY_FILE = "replay.safetensors"


class ReplayBuffer:
    """Transitions of one environment, with demonstrations in front that are never overwritten."""

    def __init__(
        self,
        capacity: int,
        observation_dim: int,
        action_dim: int,
        demonstrations: TrajectoryDataset | None = None,
        device: torch.device | str = "cpu",
        reward_scale: tuple[float, float] = (0.0, 1.0),
        image_shape: tuple[int, int, int] | None = None,
        see: Callable[[Tensor], Tensor] = lambda images: images,
    ) -> None:
        """
        Args:
            capacity: rows for what the robot does itself.
            observation_dim: size of a flat observation.
            action_dim: size of an action.
            demonstrations: kept beside, with their true rewards.
            device: where everything is kept.
            reward_scale: what is taken from every true reward, and what it is divided by, before
                anything learns from it.
            image_shape: (C, H, W) of uint8 images kept beside the observations; none when None.
            see: what is kept of images (B, C, H, W): (B, ...), as from `Policy.see`.

        Raises:
            InputError: if the capacity is below 2 or the demonstrations have other sizes.
        """
        if capacity < 2:
            raise InputError(f"replay capacity={capacity}: one step takes 2 rows")
        prior = 0 if demonstrations is None else len(demonstrations.flat_observations)
        rows = prior + capacity
        self.first = prior
        """First row of the ring; those before hold the demonstrations."""
        self.observations = torch.zeros(rows, observation_dim, device=device)
        self.images: Tensor | None = None
        self._image_shape, self._see = image_shape, see
        if image_shape:  # pages are taken as they are written
            kept = see(torch.zeros(1, *image_shape, dtype=torch.uint8, device=device))
            self.images = torch.zeros(rows, *kept.shape[1:], dtype=kept.dtype, device=device)
        self.actions = torch.zeros(rows, action_dim, device=device)
        self.true_rewards = torch.zeros(rows, device=device)
        self.rewards = torch.zeros(rows, device=device)
        """What is learned from: the true rewards, until `relabel` puts others there."""
        self.terminated = torch.zeros(rows, dtype=torch.bool, device=device)
        self.success = torch.zeros(rows, dtype=torch.bool, device=device)
        self.intervened = torch.zeros(rows, dtype=torch.bool, device=device)
        """Steps that a person chose: they are drawn with the demonstrations too."""
        self.valid = torch.zeros(rows, dtype=torch.bool, device=device)
        """Rows that hold a whole step."""
        self.capacity = capacity
        self.reward_scale = reward_scale
        self.corrected = False
        """Whether a person has chosen any step."""
        self.written = 0
        """Rows written so far, those overwritten included."""
        # Kept as steps come: to look through a million rows takes a millisecond.
        self._steps = 0
        self._demonstrated: Tensor | None = None
        self.demonstration_rows = torch.zeros(0, dtype=torch.int64, device=device)
        if demonstrations is not None:
            self._keep(demonstrations)

    def __len__(self) -> int:
        """Steps of the robot's own that can be drawn."""
        return self._steps

    @property
    def position(self) -> int:
        """Row of the latest observation."""
        return self.first + (self.written - 1) % self.capacity

    def add_reset(self, observation: NDArray[Any], images: NDArray[Any] | None = None) -> None:
        """Starts an episode with the observation (D,) and images (C, H, W) after a reset."""
        self._put(observation, images)

    def add_step(
        self,
        action: NDArray[Any],
        reward: float,
        observation: NDArray[Any],
        terminated: bool,
        success: bool = False,
        learned_reward: float | None = None,
        images: NDArray[Any] | None = None,
        intervened: bool = False,
    ) -> None:
        """Adds one step of the episode that `add_reset` started.

        Args:
            action: (A,) what was executed, whoever chose it.
            reward: the environment's.
            observation: (D,) after the step.
            terminated: whether the task ended; a time limit is no such end.
            success: the environment's flag.
            learned_reward: what is learned from in place of the environment's.
            images: (C, H, W) after the step.
            intervened: whether a person chose the action.
        """
        row = self.position
        self._put(observation, images)
        self.actions[row] = torch.as_tensor(action, dtype=torch.float32)
        self.true_rewards[row] = reward
        offset, size = self.reward_scale
        self.rewards[row] = (reward - offset) / size if learned_reward is None else learned_reward
        self.terminated[row] = terminated
        self.success[row] = success
        self.intervened[row] = intervened
        if intervened:
            self.corrected, self._demonstrated = True, None
        self.valid[row] = True
        self._steps += 1

    @property
    def demonstrated(self) -> Tensor:
        """(P,): rows of the demonstrations, and of the robot's own steps that a person chose."""
        if self._demonstrated is None:
            used = slice(self.first, self._end)
            own = (self.valid[used] & self.intervened[used]).nonzero()[:, 0] + self.first
            self._demonstrated = torch.cat([self.demonstration_rows, own])
        return self._demonstrated

    def sample(
        self,
        batch_size: int,
        generator: torch.Generator,
        discount: float = 1.0,
        n_step: int = 1,
        demonstrations: float = 0.0,
    ) -> TransitionBatch:
        """Draws transitions uniformly, with replacement.

        With `n_step` above 1 a transition spans up to so many steps, fewer at an episode's end.
        Its `terminated` is then `1 - discount^(m - 1)` for one of `m` steps that did not terminate,
        which makes a learner's own `discount * (1 - terminated)` the right `discount^m`.

        Args:
            batch_size: `B`.
            generator: source of randomness, on the buffer's device.
            discount: of the learner; read for `n_step` above 1 alone.
            n_step: most steps per transition.
            demonstrations: share of the batch from the demonstrations and from steps that a person
                chose (RLPD: a half).

        Raises:
            InputError: if there is nothing to draw from.
        """
        prior = round(demonstrations * batch_size)
        rows = self.demonstrated if prior and self.corrected else self.demonstration_rows
        if (prior and not len(rows)) or (prior < batch_size and not self._steps):
            raise InputError("replay: nothing to draw from yet; add steps or demonstrations first")
        device = self.valid.device
        parts: list[Tensor] = []
        if prior:
            chosen = torch.randint(len(rows), (prior,), generator=generator, device=device)
            parts.append(rows[chosen])
        if prior < batch_size:
            parts.append(self._draw(batch_size - prior, generator))
        demonstrated = torch.zeros(batch_size, device=device)
        demonstrated[:prior] = 1.0
        return self._transitions(torch.cat(parts), demonstrated, discount, n_step)

    def episodes(self, newest_steps: int | None = None) -> TrajectoryDataset:
        """The robot's own episodes as a dataset, oldest first, with their true rewards.

        The oldest may lack its beginning and the newest its end.

        Args:
            newest_steps: about how many steps to go back; all when None.

        Raises:
            InputError: if there is none.
        """
        runs = self._runs(newest_steps)
        return TrajectoryDataset.from_trajectories([self._trajectory(run) for run in runs])

    def episode_numbers(self, newest_steps: int | None = None) -> NDArray[np.int64]:
        """(E,): for each episode of `episodes()`, how many rows had ever been written before it.

        With a step's place in the episode they name it for good, wherever the ring holds it.
        """
        starts = np.array([run[0] for run in self._runs(newest_steps)]) - self.first
        newest = self.written - 1
        return np.asarray(newest - (newest - starts) % self.capacity)

    def relabel(self, rewards: NDArray[np.float32]) -> None:
        """Gives the steps of `episodes()`, in its order, new rewards (N,)."""
        rows = np.concatenate([run[:-1] for run in self._runs()])
        self.rewards[torch.from_numpy(rows)] = torch.as_tensor(rewards, device=self.rewards.device)

    def save(self, folder: Path) -> None:
        """Writes the ring into a checkpoint; demonstrations stay in their own file."""
        tensors = {name: getattr(self, name)[self.first : self._end] for name in self._stored}
        tensors = {name: values.contiguous() for name, values in tensors.items()}
        tensors["written"] = torch.tensor(self.written)
        with atomic_path(folder / REPLAY_FILE) as temporary:
            safetensors.torch.save_file(tensors, temporary)

    def load(self, folder: Path) -> None:
        """Puts back what `save` wrote, into a buffer made with the same arguments.

        Raises:
            InputError: if the file is missing, damaged, or of another buffer.
        """
        path = existing_file(folder / REPLAY_FILE)
        try:
            tensors = safetensors.torch.load_file(path, device=str(self.rewards.device))
            for name in self._stored:
                getattr(self, name)[self.first : self.first + len(tensors[name])] = tensors[name]
            self.written = int(tensors["written"])
            self.corrected = bool(self.intervened.any())
            self._steps = int(self.valid[self.first :].sum())
            self._demonstrated = None
        except (safetensors.SafetensorError, KeyError, RuntimeError) as error:
            raise InputError(f"{path}: damaged ({error}); remove this checkpoint") from error

    def _keep(self, demonstrations: TrajectoryDataset) -> None:
        observations = demonstrations.flat_observations
        sizes = (observations.shape[1], demonstrations.actions.shape[1])
        if sizes != (self.observations.shape[1], self.actions.shape[1]):
            raise InputError(
                f"{demonstrations.source}: has {sizes[0]} observation and {sizes[1]} action "
                f"features, the environment {self.observations.shape[1]} and "
                f"{self.actions.shape[1]}; give demonstrations of this environment"
            )
        rows = torch.from_numpy(demonstrations.observation_rows)
        self.observations[: self.first] = torch.from_numpy(observations)
        if self.images is not None:
            images = camera_images(demonstrations.observations)
            if images.shape[1:] != self._image_shape:
                raise InputError(
                    f"{demonstrations.source}: has images {images.shape[1:]}, the environment "
                    f"{self._image_shape}; choose its cameras= and image_size= alike"
                )
            # A part at a time, since a second copy of all images may not fit into memory.
            for first in range(0, self.first, AT_ONCE):
                part = torch.from_numpy(images[first : first + AT_ONCE]).to(self.images.device)
                self.images[first : first + len(part)] = self._see(part)
        self.actions[rows] = torch.from_numpy(demonstrations.actions)
        offset, size = self.reward_scale
        self.true_rewards[rows] = torch.from_numpy(demonstrations.rewards)
        self.rewards[rows] = (self.true_rewards[rows] - offset) / size
        self.terminated[rows] = torch.from_numpy(demonstrations.terminated)
        self.success[rows] = torch.from_numpy(demonstrations.success)
        self.valid[rows] = True
        self.demonstration_rows = rows.to(self.valid.device)

    @property
    def _stored(self) -> tuple[str, ...]:
        return _STORED if self.images is None else (*_STORED, "images")

    @property
    def _end(self) -> int:
        """Row after the last one in use."""
        return self.first + min(self.written, self.capacity)

    def _put(self, observation: NDArray[Any], images: NDArray[Any] | None) -> None:
        self.written += 1
        self.observations[self.position] = torch.as_tensor(observation, dtype=torch.float32)
        if self.images is not None:
            self.images[self.position] = torch.as_tensor(images)
        if self.written > self.capacity and self.valid[self.position]:
            self._steps, self._demonstrated = self._steps - 1, None
        self.valid[self.position] = False

    def _rows_after(self, rows: Tensor) -> Tensor:
        # Demonstrations end before the ring, in a row without a step.
        following = rows + 1
        return torch.where(following == len(self.valid), self.first, following)

    def _draw(self, count: int, generator: torch.Generator) -> Tensor:
        """(count,) rows of the ring that hold a step; the few that do not are drawn again."""

        def draw(size: int) -> Tensor:
            return torch.randint(
                self.first, self._end, (size,), generator=generator, device=self.valid.device
            )

        rows = draw(count)
        while not (good := self.valid[rows]).all():
            rows[~good] = draw(int((~good).sum()))
        return rows

    def _transitions(
        self, rows: Tensor, demonstrated: Tensor, discount: float, n_step: int
    ) -> TransitionBatch:
        rewards = self.rewards.index_select(0, rows)
        terminated = self.terminated.index_select(0, rows).float()
        last, goes_on = rows, torch.ones_like(terminated, dtype=torch.bool)
        for step in range(1, n_step):
            following = self._rows_after(last)
            goes_on = goes_on & self.valid[following] & ~self.terminated[last]
            rewards = rewards + goes_on * discount**step * self.rewards[following]
            reached = 1.0 - discount**step * (1.0 - self.terminated[following].float())
            terminated = torch.where(goes_on, reached, terminated)
            last = torch.where(goes_on, following, last)
        following = self._rows_after(last)
        images = self.images
        return TransitionBatch(
            observations=self.observations.index_select(0, rows),
            actions=self.actions.index_select(0, rows),
            rewards=rewards,
            next_observations=self.observations.index_select(0, following),
            terminated=terminated,
            images=None if images is None else images.index_select(0, rows),
            next_images=None if images is None else images.index_select(0, following),
            demonstrated=demonstrated,
        )

    def _runs(self, newest_steps: int | None = None) -> list[NDArray[np.int64]]:
        """Rows of each episode in the ring, its last observation included, oldest first."""
        ring = np.arange(self.first, len(self.valid))
        ring = np.roll(ring, -(self.position + 1 - self.first))  # ends at the newest row
        valid = self.valid.cpu().numpy()[ring]
        edges = np.diff(np.concatenate([[False], valid, [False]]).astype(np.int8))
        starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
        if not len(starts):
            raise InputError("replay: holds no step yet")
        runs = [ring[start : end + 1] for start, end in zip(starts, ends, strict=True)]
        if newest_steps is not None:
            lengths = np.cumsum([len(run) - 1 for run in runs[::-1]])
            enough = int(np.searchsorted(lengths, newest_steps)) + 1
            runs = runs[max(len(runs) - enough, 0) :]
        return runs

    def _trajectory(self, run: NDArray[np.int64]) -> Trajectory:
        rows = torch.from_numpy(run)

        def read(values: Tensor) -> NDArray[Any]:
            read: NDArray[Any] = values[rows].cpu().numpy()
            return read

        terminated = read(self.terminated)[:-1]
        last = np.arange(len(terminated)) == len(terminated) - 1
        return Trajectory(
            observations={"flat": read(self.observations)},
            actions=read(self.actions)[:-1],
            rewards=read(self.true_rewards)[:-1],
            terminated=terminated,
            truncated=last & ~terminated,
            success=read(self.success)[:-1],
        )


_STORED = (
    "observations", "actions", "true_rewards", "rewards", "terminated", "success", "intervened",
    "valid",
)  # fmt: skip
