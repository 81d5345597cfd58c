"""A tiny problem whose reward is known: the learned one must rank rightly."""

from typing import Any

import numpy as np
import pytest
import torch

from robopref.data.segments import all_segments
from robopref.data.spans import segment_spans
from robopref.errors import InputError
from robopref.evaluation.reward_quality import label_accuracy, reward_quality
from robopref.preferences.queries import uniform_pairs
from robopref.preferences.teachers import TeacherConfig, scripted_labels
from robopref.rewards.bradley_terry import (
    BradleyTerryConfig,
    LSTMConfig,
    PreferenceTransformerConfig,
    PreferenceTransformerReward,
)
from robopref.rewards.pairwise import draw_steps
from robopref.rewards.pearl import GaussianReward, PearlConfig, PearlTransformerConfig
from robopref.rewards.registry import REWARDS, make_reward
from robopref.rewards.relabel import (
    Caution,
    episode_sums,
    in_extreme_episodes,
    relabel,
    relabel_cautiously,
)
from robopref.seeding import torch_generator
from tests.preferences.small_data import dataset_of
from tests.rewards.problems import NOW, labelled


@pytest.mark.parametrize("name", sorted(REWARDS))
def test_the_learned_reward_ranks_rightly(name: str) -> None:
    dataset, preferences = labelled(episodes=60, pairs=300)
    own = {"groups": {"groups": 1}, "rapl": {"encoder": ""}}  # one annotator; no images
    model = make_reward(REWARDS[name][1](**own.get(name, {})), dataset, seed=0)
    model.fit(preferences, dataset, seed=0)
    learned = relabel(dataset, model)
    quality = reward_quality(learned, dataset)
    assert quality["return_spearman"] > 0.95
    # A memory spreads what it has seen over the steps after.
    assert quality["step_pearson"] > (0.6 if name == "lstm" else 0.7)
    pairs = uniform_pairs(all_segments(dataset, 8), 500, np.random.default_rng(1))
    held_out = scripted_labels(dataset, pairs, TeacherConfig(), np.random.default_rng(1), NOW)
    assert label_accuracy(learned.mean, held_out, dataset) > 0.85


def test_confidence_silences_wrong_labels() -> None:
    dataset, preferences = labelled(episodes=40, pairs=300)
    wrong = np.random.default_rng(0).random(300) < 0.6
    mixed = type(preferences).from_labels(
        dataset,
        preferences.first,
        preferences.second,
        np.where(wrong, 1.0 - preferences.labels, preferences.labels),
        source="transferred",
        annotator="test",
        created_at=NOW,
        confidence=(~wrong).astype(float),
    )
    model = make_reward(PearlConfig(), dataset, seed=0)
    model.fit(mixed, dataset, seed=0)
    assert reward_quality(relabel(dataset, model), dataset)["return_spearman"] > 0.9


def test_relabel_does_not_depend_on_chunks_and_reads_no_true_reward() -> None:
    dataset, preferences = labelled()
    model = make_reward(PearlTransformerConfig(epochs=1), dataset, seed=0)
    model.fit(preferences, dataset, seed=0)
    whole, chunked = relabel(dataset, model), relabel(dataset, model, chunk_steps=50)
    np.testing.assert_allclose(whole.mean, chunked.mean, rtol=1e-4, atol=1e-6)
    assert whole.mean.shape == (dataset.num_steps,)
    assert whole.mean.dtype == np.float32


def test_episode_sums_of_unequal_episodes() -> None:
    dataset = dataset_of([[1, 2, 3], [4, 5]])
    np.testing.assert_array_equal(episode_sums(dataset.rewards, dataset), [6.0, 9.0])


def test_sampled_steps_estimate_the_sum_without_bias() -> None:
    dataset = dataset_of([list(range(23)), list(range(10))])
    segments = all_segments(dataset, 10)[np.array([0, 3, 14])]
    inputs = torch.arange(33, dtype=torch.float32)[:, None]
    spans, generator = segment_spans(dataset, segments), torch_generator(0, "test")
    exact = draw_steps(inputs, spans, 0, generator)
    expected = (exact.inputs[..., 0] * exact.weights).sum(1)
    draws = [draw_steps(inputs, spans, 4, generator) for _ in range(4000)]
    sums = torch.stack([(draw.inputs[..., 0] * draw.weights).sum(1) for draw in draws])
    assert draws[0].inputs.shape == (3, 4, 1)
    torch.testing.assert_close(sums.mean(0), expected, rtol=0.005, atol=0)


def test_the_preset_is_that_of_a_pair_of_average_segments() -> None:
    dataset, preferences = labelled(pairs=20)
    model = make_reward(PearlConfig(epochs=1, preset_std=3.0), dataset, seed=0)
    assert isinstance(model, GaussianReward)
    model.fit(preferences, dataset, seed=0)
    variance = torch.exp(2.0 * model.preset_log_std()) * 2 * 24
    assert float(variance.sqrt()) == pytest.approx(3.0, rel=1e-5)


@pytest.mark.parametrize(
    ("config", "setting"),
    [
        (BradleyTerryConfig, {"epochs": 0}),
        (BradleyTerryConfig, {"hidden": []}),
        (BradleyTerryConfig, {"crop": 1.0}),
        (BradleyTerryConfig, {"pseudo_threshold": 0.4}),
        (BradleyTerryConfig, {"pseudo_pairs": -1}),
        (PearlConfig, {"members": 0}),
        (PearlConfig, {"preset_std": -1.0}),
        (PearlTransformerConfig, {"width": 30, "heads": 4}),
    ],
)
def test_wrong_settings_are_refused(config: Any, setting: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="reward"):
        config(**setting)


@pytest.mark.parametrize("model", ["linear", "rao_kupper", "davidson"])
def test_every_preference_model_ranks_rightly_and_learns_ties(model: str) -> None:
    dataset = labelled(episodes=60)[0]
    pairs = uniform_pairs(all_segments(dataset, 12), 300, np.random.default_rng(0))
    teacher = TeacherConfig(equal=0.5)
    preferences = scripted_labels(
        dataset, pairs, teacher, np.random.default_rng(0), NOW, mean_return=10.0
    )
    assert 0.1 < (preferences.labels == 0.5).mean() < 0.9
    reward = make_reward(BradleyTerryConfig(preference_model=model), dataset, seed=0)
    reward.fit(preferences, dataset, seed=0)
    assert reward_quality(relabel(dataset, reward), dataset)["return_spearman"] > 0.9
    if hasattr(reward, "tie"):
        assert reward.tie.item() != 0.0


def test_label_smoothing_makes_the_reward_less_sure() -> None:
    dataset, preferences = labelled(episodes=60, pairs=300)
    sizes = []
    for share in (0.0, 0.6):
        model = make_reward(BradleyTerryConfig(label_smoothing=share), dataset, seed=0)
        model.fit(preferences, dataset, seed=0)
        sizes.append(episode_sums(relabel(dataset, model).mean, dataset).std())
    assert sizes[1] < 0.8 * sizes[0]


def test_equal_weighting_counts_all_steps_alike() -> None:
    dataset, preferences = labelled()
    for weighting in ("attention", "equal"):
        config = PreferenceTransformerConfig(epochs=1, weighting=weighting)
        model = make_reward(config, dataset, seed=0)
        assert isinstance(model, PreferenceTransformerReward)
        model.fit(preferences, dataset, seed=0)
        inputs = model.standardised(torch.randn(2, 5, 3), torch.randn(2, 5, 2))
        importance = model.backbone(inputs, torch.ones(2, 5)).importance
        assert bool((importance == 1.0).all()) == (weighting == "equal")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (BradleyTerryConfig, {"preference_model": "guess"}),
        (BradleyTerryConfig, {"label_smoothing": 1.0}),
        (BradleyTerryConfig, {"members": 0}),
        (LSTMConfig, {"width": 0}),
        (PreferenceTransformerConfig, {"heads": 3}),
        (PreferenceTransformerConfig, {"weighting": "some"}),
    ],
)
def test_wrong_options_of_ensembles_are_refused(kind: Any, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"reward"):
        kind(**options)


def test_the_lower_bound_is_the_lowest_member() -> None:
    dataset, preferences = labelled(episodes=20, pairs=60)
    model = make_reward(BradleyTerryConfig(epochs=2), dataset, seed=0)
    model.fit(preferences, dataset, seed=0)
    lowest = relabel_cautiously(dataset, model, Caution(lower_bound=True))
    learned = relabel(dataset, model)
    assert learned.std is not None
    assert (lowest <= learned.mean + 1e-6).all() and (lowest < learned.mean - 1e-4).any()
    # of three values the lowest is at most sqrt(2) standard deviations below their mean
    assert (lowest >= learned.mean - np.sqrt(2.0) * learned.std - 1e-5).all()
    alone = make_reward(BradleyTerryConfig(epochs=2, members=1), dataset, seed=0)
    with pytest.raises(InputError, match="lower_bound=true: reward bradley_terry has no ensemble"):
        relabel_cautiously(dataset, alone, Caution(lower_bound=True))


def test_the_extremes_are_the_best_and_the_worst_episodes() -> None:
    dataset = dataset_of([[float(level)] * (3 + level) for level in range(10)])
    episodes = np.repeat(np.arange(10), dataset.lengths)
    chosen = in_extreme_episodes(dataset.rewards, dataset, 0.2, worst=0.3)
    assert set(episodes[chosen]) == {0, 1, 2, 8, 9}
    assert set(episodes[in_extreme_episodes(dataset.rewards, dataset, 0.2)]) == {8, 9}
    with pytest.raises(InputError, match="worst_episodes=0.9"):
        in_extreme_episodes(dataset.rewards, dataset, 0.2, worst=0.9)
