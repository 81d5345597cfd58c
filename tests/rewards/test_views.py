"""Videos that are altered before they are encoded: alike in all frames, and what is learned so."""

from pathlib import Path

import numpy as np
import pytest
import torch

from robopref.data.images import camera_images, named_images
from robopref.errors import InputError
from robopref.rewards.rapl import RaplConfig
from robopref.rewards.registry import make_reward
from robopref.rewards.views import altered
from robopref.rewards.visual import SeenDataset, as_seen, encoded
from robopref.structures import SegmentBatch
from tests.rewards.problems import labelled

SMALL = {"frames": 4, "epochs": 40, "learning_rate": 1e-3}


def test_all_frames_of_a_video_are_altered_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    frame = torch.randint(0, 256, (1, 6, 28, 28), dtype=torch.uint8, generator=generator)
    video = frame.repeat(3, 1, 1, 1)
    before = torch.random.get_rng_state()
    once = altered(video, torch.Generator().manual_seed(1))
    again = altered(video, torch.Generator().manual_seed(1))
    other = altered(video, torch.Generator().manual_seed(2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert once.shape == video.shape
    assert once.dtype == torch.uint8
    assert torch.equal(once[0], once[2])
    assert torch.equal(once, again)
    assert not torch.equal(once, video)
    assert not torch.equal(once, other)


def test_a_picture_of_one_colour_is_only_lit_otherwise() -> None:
    """Its border is repeated: no black edge tells that it was shifted."""
    plain = torch.full((2, 3, 28, 28), 100, dtype=torch.uint8)
    found = altered(plain, torch.Generator().manual_seed(3))
    assert (found == found[:, :, :1, :1]).all()


def test_views_make_a_reward_depend_less_on_the_light(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    dataset, preferences = _pictures(tmp_path)
    frames = camera_images(named_images(dataset.observations))
    generator = torch.Generator().manual_seed(7)
    copies = [altered(torch.from_numpy(frames), generator).numpy() for _ in range(6)]
    spread = {}
    for views in (0, 6):
        model = make_reward(RaplConfig(views=views, **SMALL), dataset, 0)
        model.fit(preferences, dataset, 0)
        rewards = np.stack([_rewards(model, dataset, copy) for copy in (frames, *copies)])
        spread[views] = rewards.std(0).mean() / rewards.std(1).mean()
    assert spread[6] < 0.8 * spread[0]


def test_views_want_images_and_something_that_learns() -> None:
    for options in ({"views": -1}, {"views": 2, "encoder": ""}, {"views": 2, "aligned": False}):
        with pytest.raises(InputError, match=r"reward.views=-?\d: must be at least 0, and 0 where"):
            RaplConfig(**options)  # type: ignore[arg-type]
    dataset, preferences = labelled(episodes=4, pairs=3)
    config = RaplConfig(encoder="", **SMALL)
    model = make_reward(config, dataset, 0)
    config.views = 2
    with pytest.raises(InputError, match="is not seen through reward.encoder"):
        model.fit(preferences, dataset, 0)


def _pictures(folder: Path):  # type: ignore[no-untyped-def]
    from robopref.data.collect import collect
    from robopref.data.lazy import load_dataset_lazily
    from robopref.data.segments import segments_of_length
    from robopref.preferences.queries import uniform_pairs
    from robopref.preferences.teachers import TEACHERS, scripted_labels
    from tests.rewards.problems import NOW

    pictures = {"horizon": 12, "cameras": ["top"], "image_size": 56}
    shares = {"shares": {"expert": 1.0, "random": 1.0}}
    path = folder / "points.hdf5"
    collect("toy/point-mass-v0", pictures, shares, 12, 0, path, workers=1)
    dataset = as_seen(load_dataset_lazily(path), RaplConfig())
    assert isinstance(dataset, SeenDataset)
    rng = np.random.default_rng(0)
    pairs = uniform_pairs(segments_of_length(dataset, 6), 60, rng)
    return dataset, scripted_labels(dataset, pairs, TEACHERS["oracle"], rng, NOW)


def _rewards(model, dataset, frames):  # type: ignore[no-untyped-def]
    from robopref.networks.pretrained import SPATIAL, FrozenEncoder

    images = {"top_image": np.moveaxis(frames, 1, -1)}
    features = torch.from_numpy(encoded(images, FrozenEncoder(SPATIAL)).astype(np.float32))[None]
    actions = torch.zeros(*features.shape[:2], dataset.actions.shape[1])
    batch = SegmentBatch(features, actions, torch.ones(features.shape[:2]))
    return model.predict(batch).mean[0].numpy()
