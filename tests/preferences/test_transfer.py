"""Cross-task Preference Alignment: worked numbers, known alignments, wrong input."""

import numpy as np
import pytest

from robopref.data.dataset import TrajectoryDataset
from robopref.data.segments import whole_episodes
from robopref.errors import InputError
from robopref.preferences.dataset import Preferences
from robopref.preferences.queries import all_pairs, uniform_pairs
from robopref.preferences.trajectory_features import align_features, progress_features
from robopref.preferences.transfer import (
    PRESETS,
    Cost,
    Solver,
    Transfer,
    TransferConfig,
    align,
    complete_labels,
    pair_confidence,
    transfer_preferences,
)
from robopref.structures import Segments
from tests.preferences.pushing_tasks import NOW, oracle, points, task


@pytest.fixture(scope="module")
def source() -> TrajectoryDataset:
    return task(np.array([0.3, 0.0, 0.0]), np.linspace(0.0, 1.0, 24), seed=0)


@pytest.fixture(scope="module")
def target() -> TrajectoryDataset:
    # Another direction, and most episodes are bad.
    return task(np.array([0.0, 0.25, 0.1]), np.linspace(0.0, 1.0, 18) ** 2, seed=1)


def test_normalised_rule_gives_one_on_the_identity_plan_of_three() -> None:
    labels = np.array([[0.5, 1.0, 1.0], [0.0, 0.5, 1.0], [0.0, 0.0, 0.5]])
    transfer = Transfer(np.eye(3) / 3, labels, points(3), points(3), 0.0)
    np.testing.assert_allclose(transfer.label_matrix(), labels)


def test_transferred_labels_of_swapped_pairs_add_to_one() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=5)
    labels = 1 / (1 + np.exp(scores[:, None] - scores[None]))
    matrix = Transfer(rng.random((5, 4)), labels, points(5), points(4), 0.0).label_matrix()
    np.testing.assert_allclose(matrix + matrix.T, 1.0)


def test_confidence_is_the_distance_from_a_tie() -> None:
    np.testing.assert_allclose(pair_confidence(np.array([0.5, 1.0, 0.1])), [0.0, 1.0, 0.8])


def test_missing_labels_follow_from_those_given(source: TrajectoryDataset) -> None:
    first, second = points(4)[np.array([0, 1, 2])], points(4)[np.array([1, 2, 3])]
    preferences = Preferences.from_labels(
        source, first, second, np.ones(3), source="human", annotator="a", created_at=NOW
    )
    labels = complete_labels(4, np.arange(3), np.arange(1, 4), preferences)
    assert labels[0, 3] > 0.99  # 0 < 1 < 2 < 3, though 0 and 3 were never compared
    np.testing.assert_allclose(labels + labels.T, 1.0)
    assert labels[0, 1] == 1.0


def test_features_are_zero_at_the_start_and_one_at_the_goal(source: TrajectoryDataset) -> None:
    features = progress_features(source, whole_episodes(source))
    assert features["place"][-1, 1] == pytest.approx(1.0, abs=0.01)
    assert features["place"][0, 1] == pytest.approx(0.0, abs=0.01)
    assert features["move"][-1, 2] == pytest.approx(1.0)


def test_alignment_weighs_overall_as_much_as_the_rest(source: TrajectoryDataset) -> None:
    features = progress_features(source, whole_episodes(source))
    left, right = align_features(features, features)
    np.testing.assert_allclose(left, right)
    np.testing.assert_allclose(left.mean(axis=0), 0.0, atol=1e-9)
    assert (left.var(axis=0) > 0).all() and left.var(axis=0).sum() == pytest.approx(1.0, abs=0.01)


def test_transfers_to_another_direction_and_other_shares(
    source: TrajectoryDataset, target: TrajectoryDataset
) -> None:
    labelled = uniform_pairs(whole_episodes(source), 120, np.random.default_rng(0))
    pairs = all_pairs(whole_episodes(target))
    transferred, transfer = transfer_preferences(
        source, oracle(source, labelled), target, pairs, TransferConfig(), NOW
    )
    truth = oracle(target, pairs).labels
    sure = transferred.confidence >= np.median(transferred.confidence)
    right = (transferred.labels > 0.5) == (truth > 0.5)
    assert right.mean() > 0.9 and right[sure].mean() > 0.97
    assert set(transferred.source) == {"transferred"}
    np.testing.assert_allclose(transfer.plan.sum(axis=0), 1 / len(target), atol=1e-6)


def test_no_target_reward_is_read(source: TrajectoryDataset, target: TrajectoryDataset) -> None:
    from dataclasses import replace

    labels = oracle(source, uniform_pairs(whole_episodes(source), 60, np.random.default_rng(0)))
    blind = replace(target, rewards=np.full_like(target.rewards, np.nan), success=~target.success)
    seen, unseen = (
        align(source, labels, data, whole_episodes(data), TransferConfig())
        for data in (target, blind)
    )
    np.testing.assert_array_equal(seen.plan, unseen.plan)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_gives_labels(
    preset: str, source: TrajectoryDataset, target: TrajectoryDataset
) -> None:
    labels = oracle(source, uniform_pairs(whole_episodes(source), 60, np.random.default_rng(0)))
    matrix = align(source, labels, target, whole_episodes(target), PRESETS[preset]).label_matrix()
    assert matrix.shape == (18, 18) and (matrix >= 0).all() and (matrix <= 1).all()


def test_wrong_input_is_refused(source: TrajectoryDataset, target: TrajectoryDataset) -> None:
    good = oracle(source, uniform_pairs(whole_episodes(source), 60, np.random.default_rng(0)))
    whole = whole_episodes(target)
    with pytest.raises(InputError, match="given for dataset"):
        align(target, good, target, whole, TransferConfig())
    with pytest.raises(InputError, match="at least 2"):
        align(source, good[:1], target, whole, TransferConfig())
    equal = good[good.labels == 1.0]
    with pytest.raises(InputError, match="all .* labels are 1"):
        align(source, equal, target, whole, TransferConfig())
    short = Segments(whole.episodes, whole.starts, whole.lengths - 5)
    with pytest.raises(InputError, match="equal length"):
        align(source, good, target, short, TransferConfig())
    bare = TrajectoryDataset.from_trajectories([target[i] for i in range(3)])
    with pytest.raises(InputError, match="entities"):
        align(source, good, bare, whole_episodes(bare), TransferConfig())
    with pytest.raises(InputError, match="cannot be compared"):
        TransferConfig(cost=Cost.STATE_ACTION, solver=Solver.SEMI_RELAXED)
    with pytest.raises(InputError, match="temperature"):
        TransferConfig(temperature=0.0)


def test_prototypes_give_nearly_the_labels_of_all_with_each_other(
    source: TrajectoryDataset,
) -> None:
    labels = oracle(source, uniform_pairs(whole_episodes(source), 60, np.random.default_rng(0)))
    many = task(np.array([0.0, 0.25, 0.1]), np.linspace(0.0, 1.0, 80) ** 2, seed=1)
    whole = whole_episodes(many)
    exact = align(source, labels, many, whole, TransferConfig())
    few = align(source, labels, many, whole, TransferConfig(prototypes=15))
    assert few.plan.dtype == np.float32 and few.plan.shape == exact.plan.shape
    np.testing.assert_allclose(few.plan.sum(axis=0), 1.0 / 80, rtol=1e-4)
    upper = np.triu_indices(80, k=1)
    same = (few.label_matrix() > 0.5) == (exact.label_matrix() > 0.5)
    assert same[upper].mean() > 0.95
    assert few.confidence == pytest.approx(exact.confidence, abs=0.05)


def test_labels_of_pairs_are_those_of_the_matrix() -> None:
    rng = np.random.default_rng(0)
    transfer = Transfer(rng.random((5, 9)), rng.random((5, 5)), points(5), points(9), 0.0)
    first, second = rng.integers(0, 9, (2, 40))
    found = transfer.labels(first, second)
    np.testing.assert_allclose(found, transfer.label_matrix()[first, second])


def test_only_the_semi_relaxed_solver_has_prototypes(
    source: TrajectoryDataset, target: TrajectoryDataset
) -> None:
    labels = oracle(source, uniform_pairs(whole_episodes(source), 60, np.random.default_rng(0)))
    config = TransferConfig(Cost.STATE_ACTION, Solver.BALANCED, prototypes=10)
    with pytest.raises(InputError, match="more than transfer.prototypes=10"):
        align(source, labels, target, whole_episodes(target), config)
    with pytest.raises(InputError, match="prototypes=1"):
        TransferConfig(prototypes=1)
