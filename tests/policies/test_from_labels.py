"""CPL, IPL, DPPO, DPO: their equations, and a problem where cloning does the mean of two ways."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from robopref.data.dataset import TrajectoryDataset
from robopref.data.spans import segment_spans
from robopref.data.transitions import transitions
from robopref.errors import InputError
from robopref.policies.base import BatchSource, Policy
from robopref.policies.behavior_cloning import BehaviorCloningConfig
from robopref.policies.cpl import CPL, CPLConfig
from robopref.policies.diffusion import DiffusionConfig
from robopref.policies.dpo import DPOConfig
from robopref.policies.dppo import DPPOConfig, segment_distances
from robopref.policies.dppo_batches import DPPOBatches
from robopref.policies.ipl import IPLConfig, implicit_reward
from robopref.policies.iql import IQLConfig
from robopref.policies.losses import contrastive_loss, preference_accuracy
from robopref.policies.registry import FROM_LABELS, load_policy, make_policy, new_policy
from robopref.policies.segment_pairs import PairBatches, segment_rows
from robopref.preferences.dataset import Preferences
from robopref.training.checkpoint import restore_checkpoint, save_checkpoint

Data = tuple[TrajectoryDataset, Preferences]
QUICK: dict[str, Any] = {"hidden": [32, 32], "learning_rate": 3e-3, "actor_average_rate": 0.05}
CASES = {
    "cpl": CPLConfig(**QUICK, cloning_updates=20, temperature=1.0),
    "cpl gaussian": CPLConfig(**QUICK, cloning_updates=20, deterministic=False),
    "cpl kl": CPLConfig(**QUICK, cloning_updates=50, reference=True, bias=0.75, temperature=1.0),
    "ipl": IPLConfig(**QUICK, pairs=32, segment_steps=6, regularization=0.1),
    "dppo": DPPOConfig(**QUICK, predictor_width=16, predictor_updates=100, segment_steps=6),
}
cases = pytest.mark.parametrize("config", CASES.values(), ids=CASES)


def made(data: Data, config: Any, seed: int = 0) -> tuple[Policy, BatchSource]:
    policy = new_policy(config, 3, 1, seed)
    return policy, FROM_LABELS[policy.name](*data, config, 0, torch.device("cpu"))


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (1.0, np.log(1 + np.exp(0.5 * 2.0 - 1.0))),  # -log(e^1 / (e^1 + e^(0.5 * 2)))
        (0.0, np.log(1 + np.exp(0.5 * 1.0 - 2.0))),
    ],
)
def test_contrastive_loss_worked_numbers(label: float, expected: float) -> None:
    first, second = torch.tensor([2.0, 7.0]), torch.tensor([1.0, 7.0])
    loss = contrastive_loss(
        first, second, torch.tensor([label, 1.0]), torch.tensor([1.0, 0.0]), bias=0.5
    )
    assert loss.item() == pytest.approx(expected / 2)  # the second pair counts for nothing


def test_contrastive_loss_of_a_tie_is_least_in_the_middle() -> None:
    first = torch.tensor([1.0], requires_grad=True)
    tie = contrastive_loss(first, torch.tensor([1.0]), torch.tensor([0.5]), torch.ones(1), 1.0)
    tie.backward()
    assert first.grad is not None and first.grad.item() == 0.0


def test_a_conservative_bias_would_rather_agree_with_both() -> None:
    def loss(shift: float, bias: float) -> float:
        pair = torch.tensor([1.0 + shift]), torch.tensor([0.0 + shift])
        return contrastive_loss(*pair, torch.zeros(1), torch.ones(1), bias).item()

    assert loss(-5.0, 1.0) == pytest.approx(loss(0.0, 1.0))
    assert loss(-5.0, 0.5) > loss(0.0, 0.5)


def test_accuracy_leaves_ties_out() -> None:
    first, second = torch.tensor([0.0, 1.0, 5.0]), torch.tensor([1.0, 0.0, 1.0])
    accuracy = preference_accuracy(first, second, torch.tensor([1.0, 1.0, 0.5]))
    assert accuracy.item() == 0.5


def test_the_implicit_reward_turns_the_bellman_equation_round() -> None:
    values, following = torch.tensor([[3.0, 3.0]]), torch.tensor([2.0, 2.0])
    rewards = implicit_reward(values, 0.9, torch.tensor([0.0, 1.0]), following)
    torch.testing.assert_close(rewards, torch.tensor([[3.0 - 1.8, 3.0]]))


def test_the_kl_form_of_one_step_is_dpo(data: Data) -> None:
    """`-log sigmoid(beta (log-ratio of the preferred - log-ratio of the other))`."""
    config = CPLConfig(
        [8], temperature=0.3, bias=1.0, deterministic=False, reference=True, cloning_updates=1,
        segment_steps=1, pairs=8,
    )  # fmt: skip
    policy, batches = made(data, config)
    assert isinstance(policy, CPL)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):  # reference and actor part
        batch = batches.draw(8, generator)
        before = {name: value.clone() for name, value in policy.state_dict().items()}
        loss = policy.update(batch)["contrastive_loss"]
    policy.load_state_dict(before)
    ratios = []
    for side in (slice(8), slice(8, 16)):  # of 8 pairs, a step each
        steps = batch.transitions[side]
        inputs = policy.standardizer(steps.observations), steps.actions
        ratio = policy.actor.log_prob(*inputs) - policy.reference_actor.log_prob(*inputs)
        ratios.append(6.0 * ratio)  # one step stands for the segment's six
    towards = 0.3 * (ratios[1] - ratios[0])
    log_sigmoid = torch.nn.functional.logsigmoid
    dpo = -batch.labels * log_sigmoid(towards) - (1.0 - batch.labels) * log_sigmoid(-towards)
    assert abs(towards).max() > 0
    torch.testing.assert_close(loss, (dpo * batch.confidence).mean().detach())


def pretrained(data: Data, folder: Path, config: Any, updates: int = 200) -> Policy:
    steps = transitions(data[0])
    policy, generator = make_policy(config, steps, 0), torch.Generator().manual_seed(0)
    for _ in range(updates):
        policy.update(steps.draw(64, generator), generator)
    policy.save(folder)
    return policy


KINDS = {
    "gaussian": BehaviorCloningConfig(**QUICK),
    "distance": BehaviorCloningConfig(**QUICK, deterministic=True),
    "diffusion": DiffusionConfig(**QUICK),
}


@pytest.mark.parametrize("kind", KINDS)
def test_dpo_turns_a_policy_of_any_kind_towards_what_is_preferred(
    data: Data, tmp_path: Path, kind: str
) -> None:
    before = pretrained(data, tmp_path / "before", KINDS[kind])
    config = DPOConfig(
        str(tmp_path / "before"), segment_steps=6, learning_rate=1e-3, actor_average_rate=0.05
    )
    policy = make_policy(config, transitions(data[0]), 0)
    observations, generator = torch.randn(200, 3), torch.Generator().manual_seed(0)
    np.testing.assert_array_equal(policy.act(observations), before.act(observations))
    batches = PairBatches(*data, config.pairs, config.segment_steps)
    first = policy.update(batches.draw(1, generator), generator)
    assert first["preference_loss"].item() == pytest.approx(np.log(2), abs=0.2)  # no ratio yet
    for _ in range(300):
        policy.update(batches.draw(1, generator), generator)
    policy.save(tmp_path / "after")
    after = load_policy(tmp_path / "after")
    assert type(after) is type(before)
    noise = torch.Generator().manual_seed(0)
    assert after.act(observations, False, noise).mean() > 0.2 > before.act(observations).mean()


def test_a_diffusion_policy_keeps_two_ways_apart(data: Data, tmp_path: Path) -> None:
    """Half of the actions are 0.5 and half are -0.5, whatever is seen; cloning does the mean."""
    config = DiffusionConfig([64, 64], learning_rate=3e-3, actor_average_rate=0.02)
    policy = pretrained(data, tmp_path, config, updates=2_000)
    actions = policy.act(torch.randn(500, 3), False, torch.Generator().manual_seed(0))
    assert 0.3 < (actions > 0).mean() < 0.7
    assert (np.abs(np.abs(actions) - 0.5) < 0.2).mean() > 0.7
    assert (np.abs(np.abs(policy.act(torch.randn(500, 3))) - 0.5) < 0.2).mean() > 0.8


def test_dpo_needs_a_policy_that_it_can_tune(data: Data, tmp_path: Path) -> None:
    steps = transitions(data[0])
    with pytest.raises(InputError, match=r"dpo\.pretrained: name the folder"):
        make_policy(DPOConfig(), steps, 0)
    make_policy(IQLConfig([8]), steps, 0).save(tmp_path)
    with pytest.raises(InputError, match="is a policy iql; train one of behavior_cloning"):
        make_policy(DPOConfig(str(tmp_path)), steps, 0)
    with pytest.raises(InputError, match=r"sizes \(3, 1\), the dataset has \(5, 1\)"):
        new_policy(DPOConfig(str(tmp_path)), 5, 1, 0)


def test_the_reference_is_what_cloning_ended_with(data: Data) -> None:
    policy, batches = made(data, CASES["cpl kl"])
    generator = torch.Generator().manual_seed(0)
    for number in range(60):
        if number == 50:
            cloned = [value.clone() for value in policy.actor.parameters()]
        policy.update(batches.draw(32, generator))
    pairs = zip(policy.reference_actor.parameters(), cloned, strict=True)
    assert all(torch.equal(kept, then) for kept, then in pairs)
    assert not torch.equal(list(policy.actor.parameters())[-1], cloned[-1])


def test_distance_of_a_segment_worked_numbers() -> None:
    own = torch.tensor([[[2.0, 0.0], [0.0, 0.0], [-2.0, 2.0]]])
    weights = torch.tensor([[1.0, 1.0, 0.0]])
    distance = segment_distances(torch.zeros(1, 3, 2), own, weights)
    torch.testing.assert_close(distance, torch.tensor([0.5]), atol=1e-5, rtol=0)


def test_segments_are_whole_or_sampled_in_order(data: Data) -> None:
    dataset, preferences = data
    spans = segment_spans(dataset, preferences.first)
    generator = torch.Generator().manual_seed(0)
    rows, weights = segment_rows(spans, 8, generator)
    assert torch.equal(weights, torch.tensor([1.0] * 6 + [0.0] * 2).expand(60, 8))
    assert torch.equal(rows[:, :6], spans[0][:, None] + torch.arange(6))
    assert torch.equal(rows[:, 6:], rows[:, 5:6].expand(-1, 2))
    rows, weights = segment_rows(spans, 4, generator)
    torch.testing.assert_close(weights, torch.full((60, 4), 1.5))
    within = rows - spans[0][:, None]
    assert within.min() == 0 and within.max() == 5 and (within.diff(dim=1) >= 0).all()


def test_a_batch_has_the_steps_of_its_pairs_and_sums_over_them(data: Data) -> None:
    dataset, preferences = data
    batch = PairBatches(*data, pairs=5_000, steps=8).draw(4, torch.Generator().manual_seed(0))
    steps = batch.transitions
    assert len(steps) == 2 * 5_000 * 8 + 4 and not steps.rewards.any()
    assert batch.confidence.mean().item() == pytest.approx(1.0, abs=0.05)
    of_pairs, rest = batch.split(steps.actions[:, 0])
    assert of_pairs.shape == (2, 5_000, 8) and len(rest) == 4
    first, second = batch.sums(steps.actions[:, 0])  # six steps of 0.5 or -0.5
    assert set(first.tolist()) == {3.0, -3.0}
    torch.testing.assert_close(batch.labels, 0.5 + (second - first) / 12.0)


def test_the_judge_scores_what_is_preferred_higher(data: Data) -> None:
    batches = DPPOBatches(*data, CASES["dppo"], seed=0)
    assert len(batches) == 40 * 7  # six of twelve steps, at every place
    batch = batches.draw(0, torch.Generator().manual_seed(0))
    good = batch.actions[:, 0, 0] > 0
    assert batch.scores[good].min() > batch.scores[~good].max()
    same = (batch.actions == batch.actions[:, :1]).all()
    assert same  # no segment reaches into the next episode, which goes the other way


@cases
def test_it_does_what_is_preferred_where_cloning_would_do_the_mean(data: Data, config: Any) -> None:
    policy, batches = made(data, config)
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        policy.update(batches.draw(64, generator))
    assert policy.act(torch.randn(100, 3, generator=generator)).mean() > 0.25


@cases
def test_a_resumed_training_equals_an_uninterrupted_one(
    data: Data, config: Any, tmp_path: Path
) -> None:
    ends = []
    for interrupted in (True, False):
        policy, batches = made(data, config)
        generator = torch.Generator().manual_seed(0)
        for update in range(60):
            if interrupted and update == 30:
                save_checkpoint(tmp_path, policy, generator, 30, {})
                policy, batches = made(data, config, seed=9)
                generator = torch.Generator().manual_seed(9)
                assert restore_checkpoint(tmp_path, policy, generator, {}) == 30
            policy.update(batches.draw(32, generator))
        ends.append(policy.state_dict())
    for name, value in ends[0].items():
        assert torch.equal(value, ends[1][name]), name


@pytest.mark.parametrize(
    ("kind", "option", "value"),
    [
        (CPLConfig, "bias", 0.0),
        (CPLConfig, "temperature", -1.0),
        (CPLConfig, "hidden", []),
        (CPLConfig, "cloning_updates", -1),
        (IPLConfig, "expectile", 1.5),
        (IPLConfig, "regularization", -0.1),
        (IPLConfig, "pairs", 0),
        (DPPOConfig, "segments", 1),
        (DPPOConfig, "predictor_heads", 3),
        (DPPOConfig, "bias", 2.0),
        (DPPOConfig, "shift", -1.0),
        (DPOConfig, "temperature", 0.0),
        (DPOConfig, "supervised_weight", -1.0),
        (DiffusionConfig, "denoising_steps", 0),
    ],
)
def test_wrong_options_are_refused(kind: type[Any], option: str, value: Any) -> None:
    with pytest.raises(InputError, match=r"(cpl|ipl|dppo|dpo|diffusion)"):
        kind(**{option: value})


def test_the_kl_form_needs_cloning() -> None:
    with pytest.raises(InputError, match="the reference is what cloning ends with"):
        CPLConfig(reference=True, cloning_updates=0)
