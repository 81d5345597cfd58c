from pathlib import Path

import numpy as np
import pytest
import torch

from robopref.data.dataset import TrajectoryDataset
from robopref.errors import InputError
from robopref.policies.oppo import (
    OPPO,
    OPPOConfig,
    context_preference_loss,
    hindsight_matching_loss,
)
from robopref.policies.oppo_batches import OPPOBatches
from robopref.policies.registry import load_policy, new_policy
from robopref.preferences.dataset import Preferences
from robopref.training.checkpoint import restore_checkpoint, save_checkpoint

SMALL = OPPOConfig(context_dim=3, window=4, encoder_steps=5, width=16, layers=1, heads=2, pairs=16)


def test_matching_is_the_squared_error_over_real_steps() -> None:
    actions = torch.zeros(1, 3, 2)
    predicted = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [9.0, 9.0]]])
    loss = hindsight_matching_loss(predicted, actions, torch.tensor([[1.0, 1.0, 0.0]]))
    assert loss.item() == pytest.approx((1.0 / 2 + 4.0 / 2) / 2)


@pytest.mark.parametrize(
    ("label", "expected"),
    [(1.0, 0.0), (0.0, 3.0), (0.5, 1.5)],
)
def test_preference_loss_is_a_triplet(label: float, expected: float) -> None:
    # Distances to z* are 3 and 1: right by more than the margin, or wrong by 2 and the margin.
    first, second, optimal = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 1.0]]), torch.zeros(2)
    loss = context_preference_loss(
        first, second, optimal, torch.tensor([label]), torch.ones(1), margin=1.0
    )
    assert loss.item() == pytest.approx(expected)


def test_swapping_a_pair_and_its_label_changes_nothing_and_confidence_weighs() -> None:
    torch.manual_seed(0)
    first, second, optimal = torch.randn(8, 3), torch.randn(8, 3), torch.randn(3)
    labels, weights = torch.rand(8), torch.rand(8)
    loss = context_preference_loss(first, second, optimal, labels, weights, 1.0)
    swapped = context_preference_loss(second, first, optimal, 1 - labels, weights, 1.0)
    torch.testing.assert_close(loss, swapped)
    torch.testing.assert_close(
        context_preference_loss(first, second, optimal, labels, 2 * weights, 1.0), 2 * loss
    )


def test_a_tie_pulls_neither_way() -> None:
    first = torch.tensor([[0.6, 0.0]], requires_grad=True)
    second = torch.tensor([[0.0, 0.9]])
    loss = context_preference_loss(
        first, second, torch.zeros(2), torch.tensor([0.5]), torch.ones(1), 1.0
    )
    loss.backward()
    assert first.grad is not None and not first.grad.any()


def trained(data: tuple[TrajectoryDataset, Preferences], updates: int) -> OPPO:
    policy = new_policy(SMALL, 3, 1, seed=0)
    assert isinstance(policy, OPPO)
    batches, generator = OPPOBatches(*data, SMALL), torch.Generator().manual_seed(0)
    for _ in range(updates):
        policy.update(batches.draw(32, generator))
    return policy


def test_it_does_what_is_preferred_where_cloning_would_do_the_mean(
    data: tuple[TrajectoryDataset, Preferences],
) -> None:
    # With the margin at its largest, z* goes all the way to the preferred contexts.
    faster = {"window": 1, "margin": 2.0, "learning_rate": 3e-3, "actor_average_rate": 0.05}
    config = OPPOConfig(**{**vars(SMALL), **faster})
    policy = new_policy(config, 3, 1, seed=0)
    assert isinstance(policy, OPPO)
    batches, generator = OPPOBatches(*data, config), torch.Generator().manual_seed(0)
    for _ in range(300):
        metrics = policy.update(batches.draw(32, generator))
    assert metrics["preference_accuracy"] == 1.0
    assert policy.act(torch.randn(20, 3, generator=generator)).min() > 0.3


def test_acting_sees_the_last_steps_until_reset(
    data: tuple[TrajectoryDataset, Preferences],
) -> None:
    policy = trained(data, 3)
    observations = torch.randn(7, 2, 3)
    actions = [torch.from_numpy(policy.act(step)) for step in observations]
    kept = SMALL.window
    expected = policy.averaged_actor(
        policy.optimal_context.expand(2, -1),
        policy.standardizer(observations[-kept:].transpose(0, 1)),
        torch.stack(actions[-kept:-1], dim=1),
    )
    torch.testing.assert_close(actions[-1], expected[:, -1].detach())
    with pytest.raises(InputError, match="remembers 2 episodes, found 5"):
        policy.act(torch.randn(5, 3))
    policy.reset()
    np.testing.assert_array_equal(policy.act(observations[0]), actions[0].numpy())


def test_a_resumed_training_equals_an_uninterrupted_one(
    data: tuple[TrajectoryDataset, Preferences], tmp_path: Path
) -> None:
    batches, generator = OPPOBatches(*data, SMALL), torch.Generator().manual_seed(0)
    policy = trained(data, 0)
    assert isinstance(policy, OPPO)
    for update in range(10):
        if update == 5:
            save_checkpoint(tmp_path, policy, generator, 5, {})
            policy = new_policy(SMALL, 3, 1, seed=9)  # type: ignore[assignment]
            generator = torch.Generator().manual_seed(9)
            assert restore_checkpoint(tmp_path, policy, generator, {}) == 5
        policy.update(batches.draw(32, generator))
    straight = trained(data, 10)
    for name, value in straight.state_dict().items():
        assert torch.equal(policy.state_dict()[name], value), name


def test_a_saved_policy_keeps_its_optimal_context(
    data: tuple[TrajectoryDataset, Preferences], tmp_path: Path
) -> None:
    policy = trained(data, 2)
    policy.save(tmp_path)
    loaded = load_policy(tmp_path)
    assert isinstance(loaded, OPPO)
    torch.testing.assert_close(loaded.optimal_context, policy.optimal_context, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("option", "value"),
    [("window", 0), ("heads", 3), ("learning_rate", 0.0), ("margin", -1.0), ("pairs", 0)],
)
def test_wrong_options_are_refused(option: str, value: float) -> None:
    with pytest.raises(InputError, match=r"oppo\."):
        OPPOConfig(**{option: value})
