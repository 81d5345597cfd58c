"""Occlusion maps light up where a score looks."""

import torch

from robopref.report.saliency import PARTS, occlusion_map


def test_only_the_part_that_the_score_reads_lights_up() -> None:
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    images[:, :, 8:12, 16:20] = 255
    maps = occlusion_map(images, lambda each: each[:, :, 8:12, 16:20].float().mean((1, 2, 3)))
    assert maps.shape == (2, PARTS, PARTS)
    assert (maps[:, 2, 4] > 10.0).all()
    maps[:, 2, 4] = 0.0
    assert not maps.any()


def test_an_empty_part_lights_nothing_up() -> None:
    images = torch.full((1, 3, 32, 32), 200, dtype=torch.uint8)
    images[:, :, :8, :8] = 0
    maps = occlusion_map(images, lambda each: each.float().square().mean((1, 2, 3)))
    assert maps[0, :3, :3].any()
    assert not maps[0, 4:].any() and not maps[0, :, 4:].any()
