import pytest
import torch

from robopref.networks.transformer import PreferenceTransformer


@pytest.fixture
def network() -> PreferenceTransformer:
    torch.manual_seed(0)
    return PreferenceTransformer(inputs=5, width=16, layers=2, heads=4, outputs=2)


def test_outputs_depend_on_the_past_alone(network: PreferenceTransformer) -> None:
    inputs, mask = torch.randn(2, 7, 5), torch.ones(2, 7)
    before, _ = network(inputs, mask)
    inputs[:, 4] += 1.0
    after, _ = network(inputs, mask)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert (before[:, 4:] - after[:, 4:]).abs().amax((0, 2)).min() > 1e-4


def test_weights_are_a_distribution_over_real_steps(network: PreferenceTransformer) -> None:
    mask = torch.ones(3, 6)
    mask[1, 2:] = 0.0
    _, weights = network(torch.randn(3, 6, 5), mask)
    torch.testing.assert_close(weights.sum(1), torch.ones(3))
    assert not weights[1, 2:].any()
    assert (weights >= 0).all()


def test_weights_look_both_ways(network: PreferenceTransformer) -> None:
    inputs, mask = torch.randn(1, 6, 5), torch.ones(1, 6)
    _, before = network(inputs, mask)
    inputs[:, 5] += 3.0
    _, after = network(inputs, mask)
    assert (before[:, 0] - after[:, 0]).abs() > 1e-5


def test_padding_changes_nothing(network: PreferenceTransformer) -> None:
    inputs = torch.randn(2, 4, 5)
    values, weights = network(inputs, torch.ones(2, 4))
    padded = torch.cat([inputs, torch.full((2, 3, 5), 9.0)], dim=1)
    mask = torch.cat([torch.ones(2, 4), torch.zeros(2, 3)], dim=1)
    more_values, more_weights = network(padded, mask)
    torch.testing.assert_close(more_values[:, :4], values)
    torch.testing.assert_close(more_weights[:, :4], weights)


def test_reads_longer_segments_than_any_seen(network: PreferenceTransformer) -> None:
    values, _ = network(torch.randn(1, 300, 5), torch.ones(1, 300))
    assert values.isfinite().all()
