"""Segments as places among all steps, and steps drawn in them."""

import numpy as np
import torch

from robopref.data.segments import all_segments
from robopref.data.spans import random_places, segment_spans, steps_in_parts
from robopref.seeding import torch_generator
from tests.preferences.small_data import dataset_of


def test_spans_count_steps_over_episodes() -> None:
    dataset = dataset_of([[0.0] * 5, [0.0] * 4])
    starts, lengths = segment_spans(dataset, all_segments(dataset, 3)[np.array([2, 4])])
    assert starts.tolist() == [2, 6] and lengths.tolist() == [3, 3]


def test_places_are_all_reached_and_none_beyond() -> None:
    places = random_places(torch.tensor([1, 3]).repeat(500), torch_generator(0, "test"))
    assert set(places[::2].tolist()) == {0} and set(places[1::2].tolist()) == {0, 1, 2}


def test_the_middle_of_equal_parts() -> None:
    assert steps_in_parts(torch.tensor([8, 2]), 4, None).tolist() == [[1, 3, 5, 7], [0, 0, 1, 1]]
