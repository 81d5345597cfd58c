import numpy as np
import torch

from robopref.data.normalization import LIMIT, Standardizer, standardize_rewards


def test_mean_zero_and_std_one() -> None:
    values = torch.randn(1000, 2) * torch.tensor([3.0, 0.01]) + torch.tensor([5.0, -2.0])
    standardizer = Standardizer(2)
    standardizer.fit(values)
    result = standardizer(values)
    torch.testing.assert_close(result.mean(0), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(result.std(0), torch.ones(2), atol=1e-2, rtol=0)


def test_constant_dimensions_are_only_centred() -> None:
    values = torch.full((100, 2), 0.7)
    values[:, 1] = 1000.0 + torch.arange(100) % 2 * 1e-4  # rounding noise of a large constant
    standardizer = Standardizer(2)
    standardizer.fit(values)
    unseen = standardizer(torch.tensor([[0.8, 1000.5]]))
    torch.testing.assert_close(unseen, torch.tensor([[0.1, 0.5]]), atol=1e-3, rtol=0)


def test_values_far_out_are_held() -> None:
    values = torch.zeros(100, 1)
    values[0] = 0.001
    standardizer = Standardizer(1)
    standardizer.fit(values)
    assert standardizer(torch.tensor([[50.0]])).item() == LIMIT


def test_rewards_lose_scale_and_offset() -> None:
    rewards = np.random.default_rng(0).exponential(size=200)
    standard = standardize_rewards(rewards)
    assert abs(standard.mean()) < 1e-6 and abs(standard.std() - 1.0) < 1e-5
    np.testing.assert_allclose(standardize_rewards(1e4 * rewards - 7.0), standard, atol=1e-4)


def test_constant_rewards_become_zero() -> None:
    np.testing.assert_array_equal(standardize_rewards(np.full(9, 0.1)), np.zeros(9))
