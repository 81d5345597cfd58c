"""DPO on policies that look at images: the actor is tuned, the encoder stays as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from robopref.data.dataset import TrajectoryDataset
from robopref.data.images import ImageTransitions, seen
from robopref.data.transitions import transitions
from robopref.errors import InputError
from robopref.policies.base import Policy
from robopref.policies.behavior_cloning import BehaviorCloningConfig
from robopref.policies.diffusion import DiffusionConfig
from robopref.policies.dpo import DPO, DPOConfig
from robopref.policies.iql import IQLConfig
from robopref.policies.registry import load_policy, make_policy
from robopref.policies.segment_pairs import PairBatches
from robopref.policies.visual import EncoderConfig, VisualConfig, VisualPolicy
from robopref.preferences.dataset import Preferences

Data = tuple[TrajectoryDataset, Preferences]
QUICK: dict[str, Any] = {"hidden": [32, 32], "learning_rate": 3e-3, "actor_average_rate": 0.05}
CLONED, SHAPE = BehaviorCloningConfig(**QUICK), [3, 8, 8]
pytestmark = pytest.mark.usefixtures("frozen")


def pictures(dataset: TrajectoryDataset) -> Any:
    rows, rng = len(dataset.flat_observations), np.random.default_rng(0)
    return rng.integers(256, size=(rows, *SHAPE), dtype=np.uint8)


def pretrained(
    data: Data, folder: Path, options: Any = CLONED, encoder: str = "", updates: int = 200
) -> VisualPolicy:
    """A saved policy, cloned from episodes of which half go each way."""
    steps, images = transitions(data[0]), pictures(data[0])
    name = "diffusion" if isinstance(options, DiffusionConfig) else "behavior_cloning"
    config = VisualConfig(
        name, options, SHAPE, EncoderConfig(encoder, features=8, crop=1, learning_rate=1e-3)
    )
    policy, generator = make_policy(config, steps, 0), torch.Generator().manual_seed(0)
    assert isinstance(policy, VisualPolicy)
    rows = data[0].observation_rows
    source = ImageTransitions(seen(policy.see, images), rows, steps)
    for _ in range(updates):
        policy.update(source.draw(64, generator), generator)
    policy.save(folder)
    return policy


def tuning(data: Data, folder: Path, image_shape: list[int], **options: Any) -> Policy:
    config = DPOConfig(str(folder), **options)
    return make_policy(VisualConfig("dpo", config, image_shape), transitions(data[0]), 0)


@pytest.mark.parametrize("encoder", ["", "small"])
@pytest.mark.parametrize("options", [CLONED, DiffusionConfig(**QUICK)], ids=lambda o: type(o))
def test_it_turns_towards_what_is_preferred_and_looks_as_before(
    data: Data, tmp_path: Path, options: Any, encoder: str
) -> None:
    before = pretrained(data, tmp_path / "before", options, encoder)
    policy = tuning(
        data, tmp_path / "before", SHAPE,
        segment_steps=6, learning_rate=1e-3, actor_average_rate=0.05,
    )  # fmt: skip
    assert isinstance(policy, DPO) and policy.image_shape == (3, 8, 8)
    images, states = pictures(data[0]), data[0].flat_observations
    shown = {"images": images[:200]}
    old = before.act(states[:200], **shown)
    np.testing.assert_array_equal(policy.act(states[:200], **shown), old)

    features = seen(policy.see, images)
    assert features.ndim == 2
    np.testing.assert_array_equal(policy.act(states[:200], images=features[:200]), old)
    batches = PairBatches(*data, policy.config.pairs, policy.config.segment_steps, images=features)
    generator = torch.Generator().manual_seed(0)
    first = policy.update(batches.draw(1, generator), generator)
    assert first["preference_loss"].item() == pytest.approx(np.log(2), abs=0.2)  # no ratio yet
    for _ in range(200):
        policy.update(batches.draw(1, generator), generator)

    policy.save(tmp_path / "after")
    after = load_policy(tmp_path / "after")
    assert isinstance(after, VisualPolicy) and after.config == before.config
    new = after.act(states[:200], **shown)
    np.testing.assert_array_equal(policy.act(states[:200], **shown), new)
    drawn = [
        each.act(states[:200], False, torch.Generator().manual_seed(0), **shown).mean()
        for each in (before, after)
    ]
    assert drawn[0] < 0.2 and drawn[1] > drawn[0] + 0.2
    for name, value in before.state_dict().items():
        if not name.startswith("learner.") or "standardizer" in name:
            assert torch.equal(after.state_dict()[name], value), name


def test_images_and_their_features_teach_the_same(data: Data, tmp_path: Path) -> None:
    pretrained(data, tmp_path)
    images, losses = pictures(data[0]), []
    for shown in (images, None):
        policy = tuning(data, tmp_path, SHAPE)
        kept = seen(policy.see, images) if shown is None else shown
        batches = PairBatches(*data, 8, 6, images=kept)
        generator = torch.Generator().manual_seed(0)
        for _ in range(3):
            loss = policy.update(batches.draw(1, generator), generator)["actor_loss"].item()
        losses.append(loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_policies_that_look_at_something_else_are_refused(data: Data, tmp_path: Path) -> None:
    steps = transitions(data[0])
    pretrained(data, tmp_path / "looking", updates=0)
    make_policy(CLONED, steps, 0).save(tmp_path / "blind")
    visual = VisualConfig("iql", IQLConfig([8]), SHAPE)
    make_policy(visual, steps, 0).save(tmp_path / "valued")
    with pytest.raises(InputError, match="does not look at images; leave out images="):
        tuning(data, tmp_path / "blind", SHAPE)
    with pytest.raises(InputError, match="looks at images; give images=true"):
        make_policy(DPOConfig(str(tmp_path / "looking")), steps, 0)
    with pytest.raises(InputError, match=r"\(3, 8, 8\), those of the dataset are \(3, 16, 16\)"):
        tuning(data, tmp_path / "looking", [3, 16, 16])
    with pytest.raises(InputError, match="is a policy iql; train one of behavior_cloning"):
        tuning(data, tmp_path / "valued", SHAPE)
    policy = tuning(data, tmp_path / "looking", SHAPE)
    with pytest.raises(InputError, match="this batch has none"):
        policy.update(PairBatches(*data, 4, 6).draw(1, torch.Generator().manual_seed(0)))
