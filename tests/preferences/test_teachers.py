from datetime import UTC, datetime

import numpy as np
import pytest

from robopref.data.segments import whole_episodes
from robopref.errors import InputError
from robopref.preferences.queries import all_pairs
from robopref.preferences.teachers import TEACHERS, TeacherConfig, answer, scripted_labels
from tests.preferences.small_data import dataset_of, random_dataset

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def ask(
    first: list[list[float]],
    second: list[list[float]],
    config: TeacherConfig,
    average: float = 10.0,
    seed: int = 0,
) -> np.ndarray:
    return answer(
        np.array(first),
        np.array(second),
        np.full(len(first), average),
        config,
        np.random.default_rng(seed),
    )


def test_oracle_takes_the_larger_sum_and_gives_ties_to_the_first() -> None:
    labels = ask([[1, 1], [3, 0], [2, 0]], [[2, 1], [1, 1], [1, 1]], TeacherConfig())
    assert labels.tolist() == [1.0, 0.0, 0.0]


def test_myopia_weights_the_last_step_most() -> None:
    # Sums 9 and 4; with gamma 0.5 over three steps 9 / 4 = 2.25 against 4.
    first, second = [[9.0, 0.0, 0.0]], [[0.0, 0.0, 4.0]]
    assert ask(first, second, TeacherConfig()).tolist() == [0.0]
    assert ask(first, second, TeacherConfig(gamma=0.5)).tolist() == [1.0]


def test_skip_looks_at_the_better_sum() -> None:
    # Threshold 0.1 * 10 = 1; a sum of exactly 1 is skipped.
    labels = ask([[1.0], [0.0], [1.1]], [[0.0], [2.0], [0.0]], TeacherConfig(skip=0.1))
    assert np.isnan(labels[0])
    assert labels[1:].tolist() == [1.0, 0.0]


def test_equal_overrides_mistakes_and_uses_undiscounted_sums() -> None:
    config = TeacherConfig(equal=0.1, mistake=1.0, gamma=0.01)
    # Differences 0.9 < 1 and 1.0, which is not below 1.
    labels = ask([[5.9, 0.0], [6.0, 0.0]], [[0.0, 5.0], [0.0, 5.0]], config)
    assert labels.tolist() == [0.5, 0.0]  # myopic choice is 1, the mistake turns it


def test_bpref_compat_squares_the_shares() -> None:
    first, second = [[5.5]], [[5.0]]
    assert ask(first, second, TeacherConfig(equal=0.1)).tolist() == [0.5]
    assert ask(first, second, TeacherConfig(equal=0.1, bpref_compat=True)).tolist() == [0.0]
    assert np.isnan(ask([[0.5]], [[0.0]], TeacherConfig(skip=0.1))).all()
    compat = TeacherConfig(skip=0.1, bpref_compat=True)
    assert ask([[0.5]], [[0.0]], compat).tolist() == [0.0]


def test_negative_average_turns_skip_and_equal_off() -> None:
    config = TeacherConfig(skip=0.5, equal=0.5)
    assert ask([[-5.0]], [[-4.0]], config, average=-10.0).tolist() == [1.0]


def test_beta_gives_the_bradley_terry_probability() -> None:
    count = 20000
    labels = ask([[0.0]] * count, [[2.0]] * count, TeacherConfig(beta=0.5))
    assert abs(labels.mean() - 1 / (1 + np.exp(-1.0))) < 0.01


def test_beta_does_not_overflow() -> None:
    assert ask([[0.0]], [[1e6]], TeacherConfig(beta=1e3)).tolist() == [1.0]


def test_mistakes_flip_that_share() -> None:
    count = 20000
    labels = ask([[0.0]] * count, [[1.0]] * count, TeacherConfig(mistake=0.1))
    assert abs(labels.mean() - 0.9) < 0.01


@pytest.mark.parametrize("name", sorted(TEACHERS))
def test_presets_repeat_with_the_seed_and_stay_above_chance(name: str) -> None:
    dataset = random_dataset(episodes=30)
    pairs = all_pairs(whole_episodes(dataset))
    draws = [
        scripted_labels(
            dataset, pairs, TEACHERS[name], np.random.default_rng(5), NOW, mean_return=20.0
        )
        for _ in range(2)
    ]
    np.testing.assert_array_equal(draws[0].labels, draws[1].labels)
    better = dataset.returns[draws[0].second.episodes] > dataset.returns[draws[0].first.episodes]
    assert ((draws[0].labels > 0.5) == better).mean() > 0.6
    assert set(draws[0].source) == {"scripted"}
    if name == "skip":
        assert len(draws[0]) < len(pairs[0])


def test_swapping_the_sides_flips_the_label() -> None:
    dataset = random_dataset()
    first, second = all_pairs(whole_episodes(dataset))
    labels = [
        scripted_labels(dataset, pairs, TeacherConfig(), np.random.default_rng(0), NOW).labels
        for pairs in ((first, second), (second, first))
    ]
    np.testing.assert_array_equal(labels[0], 1.0 - labels[1])


def test_segments_of_different_length_align_at_their_end() -> None:
    dataset = dataset_of([[8.0, 0.0, 0.0, 0.0], [0.0, 1.5]])
    pairs = all_pairs(whole_episodes(dataset))
    rng = np.random.default_rng(0)
    assert scripted_labels(dataset, pairs, TeacherConfig(), rng, NOW).labels == [0.0]
    # gamma^3 * 8 = 1 against 1.5
    assert scripted_labels(dataset, pairs, TeacherConfig(gamma=0.5), rng, NOW).labels == [1.0]


def test_wrong_settings_are_named() -> None:
    with pytest.raises(InputError, match=r"teacher.gamma=0.0"):
        TeacherConfig(gamma=0.0)
    with pytest.raises(InputError, match=r"teacher.mistake=2"):
        TeacherConfig(mistake=2.0)
