import pytest
import torch

from robopref.networks.context_transformer import ContextTransformer, TrajectoryEncoder


@pytest.fixture
def actor() -> ContextTransformer:
    torch.manual_seed(0)
    return ContextTransformer(5, 2, context_dim=3, width=16, layers=2, heads=4)


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(*size, generator=generator) for size in ((2, 3), (2, 7, 5), (2, 6, 2)))


def test_an_action_depends_on_steps_up_to_it_and_on_actions_before_it(
    actor: ContextTransformer,
) -> None:
    contexts, observations, actions = inputs()
    before = actor(contexts, observations, actions)
    assert before.shape == (2, 7, 2) and before.abs().max() <= 1.0
    observations[:, 4] += 1.0
    actions[:, 4] += 1.0
    after = actor(contexts, observations, actions)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert (before[:, 4:] - after[:, 4:]).abs().amax((0, 2)).min() > 1e-4


def test_the_action_before_is_seen_one_step_later(actor: ContextTransformer) -> None:
    contexts, observations, actions = inputs()
    before = actor(contexts, observations, actions)
    actions[:, 3] += 1.0
    after = actor(contexts, observations, actions)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert (before[:, 4] - after[:, 4]).abs().min() > 1e-5


def test_every_step_sees_the_context(actor: ContextTransformer) -> None:
    contexts, observations, actions = inputs()
    change = actor(contexts, observations, actions) - actor(-contexts, observations, actions)
    assert change.abs().amax((0, 2)).min() > 1e-4


def test_contexts_lie_on_the_unit_sphere_and_read_both_ways() -> None:
    torch.manual_seed(0)
    encoder = TrajectoryEncoder(5, 2, context_dim=3, width=16, layers=2, heads=4)
    observations, actions = torch.randn(4, 6, 5), torch.randn(4, 6, 2)
    before = encoder(observations, actions)
    torch.testing.assert_close(before.norm(dim=-1), torch.ones(4))
    for step in (0, 5):
        changed = observations.clone()
        changed[:, step] += 2.0
        assert (encoder(changed, actions) - before).abs().amax(1).min() > 1e-5
