"""RAPL: experts, distances, losses, and a representation that labels turn to what matters."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from robopref.data.segments import gather, whole_episodes
from robopref.errors import InputError
from robopref.label.export import ANSWERS, export
from robopref.label.questions import Piece, Question
from robopref.label.store import Answer
from robopref.preferences.dataset import Preferences
from robopref.preferences.queries import distinct_segments, uniform_pairs
from robopref.preferences.strengths import segment_strengths
from robopref.preferences.teachers import TeacherConfig, scripted_labels
from robopref.preferences.triplets import NONE, Triplets, load_triplets
from robopref.rewards.rapl import PROBABILITY, RaplConfig, RaplReward, _Answers
from robopref.rewards.registry import make_reward
from robopref.rewards.relabel import episode_sums, relabel
from robopref.rewards.visual import SeenDataset, as_seen
from robopref.structures import Segments
from tests.preferences.small_data import dataset_of
from tests.rewards.problems import NOW, labelled

STATE = {"encoder": "", "frames": 12, "experts": 10, "contrast": True, "learning_rate": 1e-3}


def chain(dataset, order):  # type: ignore[no-untyped-def]
    """Labels that say every episode is worse than the one after it in `order`."""
    first, second = np.array(order[:-1]), np.array(order[1:])
    return Preferences.from_labels(
        dataset,
        whole_episodes(dataset, first),
        whole_episodes(dataset, second),
        np.ones(len(first)),
        source="human",
        annotator="test",
        created_at=NOW,
    )


def test_strengths_follow_a_chain_of_comparisons() -> None:
    dataset = dataset_of([[float(i)] * 5 for i in range(6)])
    segments, strengths = segment_strengths(chain(dataset, [3, 0, 5, 1, 4, 2]))
    ranked = segments.episodes[np.argsort(strengths)]
    assert ranked.tolist() == [3, 0, 5, 1, 4, 2]


def test_strengths_of_one_pair_are_the_known_ones() -> None:
    dataset = dataset_of([[0.0] * 5, [1.0] * 5])
    _, strengths = segment_strengths(chain(dataset, [0, 1]))
    # minimum of log(1 + exp(-2 s)) + 0.1 s^2: sigmoid(-2 s) = 0.1 s
    s = strengths[1]
    assert strengths[0] == pytest.approx(-s, abs=1e-3)
    assert 1.0 / (1.0 + np.exp(2.0 * s)) == pytest.approx(0.1 * s, abs=1e-3)


def test_experts_are_the_best_and_the_worst_episodes() -> None:
    dataset, preferences = labelled()
    model = make_reward(RaplConfig(**{**STATE, "experts": 3}), dataset, 0)
    assert isinstance(model, RaplReward)
    chosen = model._choose_experts(preferences, dataset)
    ranks = np.argsort(np.argsort(dataset.returns))[chosen.episodes]
    assert (ranks[:3] > 30).all()
    assert (ranks[3:] < 10).all()
    torch.testing.assert_close(model.signs, torch.tensor([1 / 3] * 3 + [-1 / 3] * 3))


def test_given_episodes_are_the_best_ones() -> None:
    dataset, preferences = labelled()
    model = make_reward(
        RaplConfig(**{**STATE, "contrast": False}, expert_episodes=[4, 9]), dataset, 0
    )
    model.fit(preferences, dataset, 0)
    assert model.signs.tolist() == [0.5, 0.5]
    with pytest.raises(InputError, match="has the episodes 0 to 39"):
        make_reward(RaplConfig(**STATE, expert_episodes=[40]), dataset, 0).fit(
            preferences, dataset, 0
        )


def test_labelled_videos_are_paid_on_average_what_carrying_them_costs() -> None:
    dataset, preferences = labelled()
    model = make_reward(RaplConfig(**{**STATE, "contrast": False, "experts": 1}), dataset, 0)
    model.fit(preferences, dataset, 0)
    assert isinstance(model, RaplReward)
    segments, _ = distinct_segments(preferences.first, preferences.second)
    with torch.no_grad():
        frames = model.represent(model._frames(dataset, segments)).flatten(0, 1)[None]
        plans, costs = model.transport(frames, model.represent(model.experts))
        paid = model.frame_costs(frames).mean()
    torch.testing.assert_close(paid, (plans * costs).sum(), rtol=1e-3, atol=0)
    whole = model.predict(gather(dataset, segments)).mean.sum(1).mean()
    expected = -model.log_scale.exp().detach() * (plans * costs).sum()
    torch.testing.assert_close(whole, expected, rtol=0.05, atol=0)  # frames stand for all steps


def test_a_step_is_paid_by_its_own_frame() -> None:
    dataset, preferences = labelled()
    model = make_reward(RaplConfig(**STATE), dataset, 0)
    model.fit(preferences, dataset, 0)
    whole = model.predict(gather(dataset, whole_episodes(dataset)[:1])).mean[0]
    pieces = Segments(np.zeros(4, np.int64), np.array([0, 3, 7, 20]), np.full(4, 2))
    parts = model.predict(gather(dataset, pieces)).mean
    for start, part in zip(pieces.starts, parts, strict=True):
        torch.testing.assert_close(part, whole[start : start + 2])


def test_losses_of_a_pair() -> None:
    dataset, preferences = labelled()
    logits = {}
    for loss in ("log_likelihood", PROBABILITY):
        model = make_reward(RaplConfig(**STATE, loss=loss), dataset, 0)
        assert isinstance(model, RaplReward)
        experts = model._choose_experts(preferences, dataset)
        model.experts[:] = model._frames(dataset, experts)
        videos = model._frames(dataset, whole_episodes(dataset)[:2])
        pairs = _Answers(
            torch.tensor([[0, 1]]), torch.zeros(0, 3, dtype=torch.int64), torch.full((20,), -1),
            torch.ones(1), torch.ones(1),
        )  # fmt: skip
        value, odds = model._loss(videos, pairs, torch.tensor([0]), None)
        logits[loss] = (float(value.detach()), float(odds))
    value, odds = logits["log_likelihood"]
    assert value == pytest.approx(float(np.log1p(np.exp(-odds))), rel=1e-5)
    value, odds = logits[PROBABILITY]
    assert value == pytest.approx(1.0 - 1.0 / (1.0 + np.exp(-odds)), rel=1e-5)


def test_alignment_finds_what_matters_among_distractors() -> None:
    """Most entries differ by episode and mean nothing; the frozen representation follows them."""
    rng = np.random.default_rng(0)
    dataset, _ = labelled(episodes=60)
    walks = rng.normal(0.0, 1.0, (60, 1, 8)) * np.ones((1, 25, 1))
    noise = walks.reshape(-1, 8).astype(np.float32)
    dataset = replace(dataset, observations={**dataset.observations, "noise": noise})
    pairs = uniform_pairs(whole_episodes(dataset, np.arange(45)), 100, rng)
    preferences = scripted_labels(dataset, pairs, TeacherConfig(), rng, NOW)
    correlations = []
    for aligned in (False, True):
        model = make_reward(RaplConfig(**STATE, aligned=aligned, epochs=60), dataset, 0)
        model.fit(preferences, dataset, 0)
        sums = episode_sums(relabel(dataset, model).mean, dataset)[45:]
        ranks = [np.argsort(np.argsort(values)) for values in (sums, dataset.returns[45:])]
        correlations.append(np.corrcoef(*ranks)[0, 1])
    assert correlations[1] > 0.7
    assert correlations[1] > correlations[0] + 0.1


def test_triplets_teach_what_videos_have_in_common() -> None:
    """Ten pairs say which of two is better; triplets, which of two is more like a third."""
    rng = np.random.default_rng(0)
    dataset, _ = labelled(episodes=60)
    noise = (rng.normal(0.0, 1.0, (60, 1, 8)) * np.ones((1, 25, 1))).reshape(-1, 8)
    dataset = replace(
        dataset, observations={**dataset.observations, "noise": noise.astype(np.float32)}
    )
    pairs = uniform_pairs(whole_episodes(dataset, np.arange(45)), 10, rng)
    preferences = scripted_labels(dataset, pairs, TeacherConfig(), rng, NOW)
    anchors, first, second = (whole_episodes(dataset, rng.integers(0, 45, 200)) for _ in range(3))
    returns = dataset.returns
    apart = [np.abs(returns[anchors.episodes] - returns[each.episodes]) for each in (first, second)]
    triplets = Triplets(anchors, first, second, (apart[1] < apart[0]).astype(np.float64))
    correlations = []
    for more in (NONE, triplets):
        model = make_reward(RaplConfig(**STATE, epochs=20), dataset, 0)
        assert isinstance(model, RaplReward)
        model.fit(preferences, dataset, 0, triplets=more)
        sums = episode_sums(relabel(dataset, model).mean, dataset)[45:]
        correlations.append(float(spearmanr(sums, returns[45:]).statistic))
    assert correlations[1] > max(correlations[0] + 0.1, 0.7), correlations


def test_triplets_of_the_label_page(tmp_path: Path) -> None:
    dataset, preferences = labelled(episodes=4, pairs=3)
    a, b, c = (Piece(episode, 2 * episode, 5) for episode in range(3))

    def given(kind: str, pieces: tuple[Piece, ...], answer: dict[str, object]) -> Answer:
        return Answer(7, Question(kind, "?", pieces, ""), "ana", answer, "", 1.5, NOW)

    answers = [
        given("pair", (a, b), {"choice": "second"}),
        given("triplet", (a, b, c), {"choice": "second"}),
        given("triplet", (c, a, b), {"skip": True}),
        given("triplet", (b, c, a), {"choice": "equal"}),
    ]
    export(answers, dataset, tmp_path)
    found = load_triplets(tmp_path / ANSWERS, dataset)
    assert found.labels.tolist() == [1.0, 0.5]
    assert found.anchors.episodes.tolist() == [0, 1]
    assert found.second.starts.tolist() == [4, 0]
    export(answers[:1], dataset, tmp_path)
    with pytest.raises(InputError, match=r"holds no triplet; ask them with ask.kinds=\[triplet\]"):
        load_triplets(tmp_path / ANSWERS, dataset)
    (tmp_path / "labels.parquet").write_bytes(b"PAR1")
    for path in (tmp_path / "labels.parquet", tmp_path / "preferences.parquet", tmp_path / "none"):
        with pytest.raises(InputError, match="cannot be read as answers"):
            load_triplets(path, dataset)
    small, _ = labelled(episodes=2, pairs=1)
    export(answers, dataset, tmp_path)
    with pytest.raises(InputError, match="triplets="):
        load_triplets(tmp_path / ANSWERS, small)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": 0}, "reward.frames=0: must be positive"),
        ({"loss": "mean"}, "choose log_likelihood or probability"),
        ({"regularization": -1.0}, "reward.regularization=-1.0"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RaplConfig(**options)  # type: ignore[arg-type]


def test_images_are_looked_at_once_and_labels_stay_valid(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    from robopref.data.collect import collect
    from robopref.data.lazy import load_dataset_lazily

    path = tmp_path / "points.hdf5"
    pictures = {"horizon": 6, "cameras": ["top"], "image_size": 16}
    shares = {"shares": {"expert": 1.0, "random": 1.0}}
    collect("toy/point-mass-v0", pictures, shares, 4, 0, path, workers=1)
    dataset = load_dataset_lazily(path)
    config = RaplConfig(frames=4, epochs=2)
    with pytest.raises(InputError, match="give the dataset as that encoder sees it"):
        make_reward(config, dataset, 0)
    seen = as_seen(dataset, config)
    assert isinstance(seen, SeenDataset)
    assert seen.fingerprint == dataset.fingerprint
    assert seen.flat_observations.shape == (4 * 7, 1024)
    kept = list(tmp_path.glob("*.efficientnet_lite0_spatial.npy"))
    assert len(kept) == 1
    kept[0].write_bytes(kept[0].read_bytes()[:300])  # cut off: is made anew
    again = as_seen(dataset, config)
    np.testing.assert_array_equal(again.flat_observations, seen.flat_observations)


def test_a_dataset_without_images_is_refused() -> None:
    dataset, _ = labelled(episodes=4, pairs=3)
    with pytest.raises(InputError, match=r"looks at images, and memory has none"):
        as_seen(dataset, RaplConfig())
