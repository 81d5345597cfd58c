import numpy as np
import torch

from robopref.data.normalization import LIMIT, RESOLUTION, Standardizer, standardize_rewards


def test_mean_zero_and_std_one() -> None:
    values = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    values = values * torch.tensor([3.0, 0.1]) + torch.tensor([5.0, -2.0])
    standardizer = Standardizer(2)
    standardizer.fit(values)
    result = standardizer(values)
    torch.testing.assert_close(result.mean(0), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(result.std(0), torch.ones(2), atol=1e-2, rtol=0)


def test_constant_dimensions_and_rounding_do_not_blow_up() -> None:
    values = torch.full((100, 2), 0.7)
    values[:, 1] += torch.arange(100) % 2 * 1e-5
    standardizer = Standardizer(2)
    standardizer.fit(values)
    assert standardizer(values).abs().max() < 1e-3
    unseen = standardizer(torch.tensor([[0.8, 0.8]]))
    torch.testing.assert_close(unseen, torch.tensor([[0.0, 0.5]]), atol=1e-2, rtol=0)


def test_dimension_at_the_resolution_counts_half() -> None:
    values = torch.tensor([[-RESOLUTION], [RESOLUTION]])
    standardizer = Standardizer(1)
    standardizer.fit(values)
    torch.testing.assert_close(standardizer(values), torch.tensor([[-0.5], [0.5]]))


def test_values_far_out_are_held() -> None:
    standardizer = Standardizer(1)
    standardizer.fit(torch.tensor([[-0.1], [0.1]]))
    assert standardizer(torch.tensor([[50.0]])).item() == LIMIT


def test_rewards_lose_scale_and_offset() -> None:
    rewards = np.random.default_rng(0).exponential(size=200)
    goes_on = np.zeros(200, dtype=bool)
    standard = standardize_rewards(rewards, goes_on)
    assert abs(standard.mean()) < 1e-6 and abs(standard.std() - 1.0) < 1e-5
    np.testing.assert_allclose(
        standardize_rewards(1e4 * rewards - 7.0, goes_on), standard, atol=1e-4
    )


def test_constant_rewards_become_zero() -> None:
    goes_on = np.zeros(9, dtype=bool)
    np.testing.assert_array_equal(standardize_rewards(np.full(9, 0.1), goes_on), np.zeros(9))


def test_cost_per_step_stays_a_cost_where_episodes_terminate() -> None:
    ends = np.arange(9) == 8
    np.testing.assert_array_equal(standardize_rewards(np.full(9, -5.0), ends), np.full(9, -1.0))
