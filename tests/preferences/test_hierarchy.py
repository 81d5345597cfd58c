from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pytest

from robopref.data.dataset import TrajectoryDataset
from robopref.data.segments import whole_episodes
from robopref.errors import InputError
from robopref.preferences.factors import FactorFunction, segment_factors
from robopref.preferences.hierarchy import (
    UNDECIDED,
    HierarchyConfig,
    decide,
    hierarchy_labels,
    in_words,
)
from robopref.preferences.queries import all_pairs
from robopref.structures import Trajectory

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RANKING = ["success", "distance", "energy"]


def episodes(make: Callable[..., Trajectory], scale: float = 1.0) -> TrajectoryDataset:
    """Success, then distance: episode 1 over 2 over 0."""
    rows = [(0, 0.2), (1, 0.1), (0, 0.9)]
    return TrajectoryDataset.from_trajectories(
        [
            make(
                4,
                success=np.full(4, bool(success)),
                factors={"distance": np.full(4, scale * distance, dtype=np.float32)},
                actions=np.full((4, 2), 0.5, dtype=np.float32),
            )
            for success, distance in rows
        ]
    )


def test_the_first_level_beyond_its_margin_decides() -> None:
    # Level 0 decides for the second; a difference equal to the margin falls through to level 1.
    first = np.array([[0.0, 5.0], [0.0, 5.0], [0.0, 5.0]])
    second = np.array([[2.0, 0.0], [1.0, 0.0], [1.0, 5.0]])
    labels, level = decide(first, second, np.array([1.0, 0.0]))
    assert labels[:2].tolist() == [1.0, 0.0]
    assert np.isnan(labels[2])
    assert level.tolist() == [0, 1, UNDECIDED]


def test_swapping_a_pair_flips_its_label(rng: np.random.Generator) -> None:
    first, second, margins = rng.normal(size=(50, 3)), rng.normal(size=(50, 3)), np.full(3, 0.7)
    labels, level = decide(first, second, margins)
    swapped, same = decide(second, first, margins)
    np.testing.assert_array_equal(labels, 1.0 - swapped)
    assert level.tolist() == same.tolist()


def test_factors_are_means_and_energy_is_a_cost(make_trajectory: Callable[..., Trajectory]) -> None:
    dataset = episodes(make_trajectory)
    values = segment_factors(dataset, whole_episodes(dataset), RANKING)
    np.testing.assert_allclose(values[1], [1.0, 0.1, -0.5], rtol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_labels_and_who_decided_do_not_depend_on_a_factors_scale(
    make_trajectory: Callable[..., Trajectory], scale: float
) -> None:
    dataset = episodes(make_trajectory, scale)
    pairs = all_pairs(whole_episodes(dataset))
    config = HierarchyConfig(RANKING, [0.5, 0.5, 0.5])
    preferences, decided = hierarchy_labels(dataset, pairs, config, NOW)
    winners = np.where(
        preferences.labels > 0.5, preferences.second.episodes, preferences.first.episodes
    )
    assert sorted(winners.tolist()) == [1, 1, 2]
    assert decided == {"success": 2, "distance": 1, "energy": 0}


def test_undecided_pairs_are_left_out(make_trajectory: Callable[..., Trajectory]) -> None:
    dataset = episodes(make_trajectory)
    pairs = all_pairs(whole_episodes(dataset))
    preferences, decided = hierarchy_labels(dataset, pairs, HierarchyConfig(["energy"]), NOW)
    assert len(preferences) == 0
    assert decided == {"energy": 0}


@pytest.mark.parametrize(
    ("ranking", "margins", "message"),
    [
        (["success", "success"], [], "success more than once"),
        (["success"], [-0.1], "at least 0"),
        (["success"], [float("nan")], "at least 0"),
        (["success"], [0.1, 0.2], "2 numbers for the 1 factors"),
    ],
)
def test_a_wrong_ranking_is_refused(ranking: list[str], margins: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        HierarchyConfig(ranking, margins)


def test_an_unknown_factor_is_named(make_trajectory: Callable[..., Trajectory]) -> None:
    dataset = episodes(make_trajectory)
    with pytest.raises(InputError, match=r"force, which memory lacks; it has .*distance"):
        segment_factors(dataset, whole_episodes(dataset), ["force"])


def test_smoothness_is_a_cost_of_jumps_within_an_episode(
    make_trajectory: Callable[..., Trajectory],
) -> None:
    actions = np.array([[0.0], [1.0], [1.0], [-1.0]], dtype=np.float32)
    dataset = TrajectoryDataset.from_trajectories(
        [make_trajectory(4, actions=actions), make_trajectory(4, actions=actions + 9.0)]
    )
    values = segment_factors(dataset, whole_episodes(dataset), ["smoothness"])
    np.testing.assert_allclose(values, [[-(1.0 + 4.0) / 4]] * 2)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (FactorFunction("flat", [1]), [2.0, 3.0]),
        (FactorFunction("flat", [1], smaller_is_better=True), [-2.0, -3.0]),
        (FactorFunction("flat", [0, 1]), [5**0.5, 18**0.5]),
        (FactorFunction("flat", [0, 1], to=[2, 2]), [1.0, 8**0.5]),
    ],
)
def test_functions_see_the_observation_after_each_step(
    make_trajectory: Callable[..., Trajectory], function: FactorFunction, expected: list[float]
) -> None:
    observations = np.array([[7.0, 7.0, 7.0], [1.0, 2.0, 1.0], [3.0, 3.0, 1.0]], dtype=np.float32)
    dataset = TrajectoryDataset.from_trajectories(
        [make_trajectory(2, observations={"flat": observations})] * 2
    )
    values = segment_factors(dataset, whole_episodes(dataset), ["mine"], {"mine": function})
    np.testing.assert_allclose(values[:, 0], [np.mean(expected)] * 2)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (FactorFunction("flat", [99]), r"no observations\['flat'\] with indices \[99\]; it has"),
        (FactorFunction("nothing", [0]), r"no observations\['nothing'\]"),
    ],
)
def test_functions_of_what_is_not_there_are_refused(
    make_trajectory: Callable[..., Trajectory], function: FactorFunction, message: str
) -> None:
    dataset = TrajectoryDataset.from_trajectories([make_trajectory(2)])
    with pytest.raises(InputError, match=message):
        segment_factors(dataset, whole_episodes(dataset), ["mine"], {"mine": function})


def test_the_tree_in_words() -> None:
    lines = in_words({"success": 30, "energy": 35}, 100)
    assert lines[0] == "success: decides 30 of 100 pairs (30%)"
    assert lines[1] == "energy: decides 35 of 70 pairs (50%)"
    assert lines[2].startswith("no label: 35 pairs")


def test_an_empty_ranking_is_refused(make_trajectory: Callable[..., Trajectory]) -> None:
    dataset = episodes(make_trajectory)
    with pytest.raises(InputError, match="at least one factor"):
        hierarchy_labels(dataset, all_pairs(whole_episodes(dataset)), HierarchyConfig(), NOW)
