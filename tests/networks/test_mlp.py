import pytest
import torch
from torch.nn import functional

from robopref.networks import onednn
from robopref.networks.actor_critic import GaussianActor, SquashedGaussianActor
from robopref.networks.mlp import EnsembleMLP, mlp
from robopref.networks.onednn import Linear, large


def test_mlp_shapes() -> None:
    assert mlp(3, [8, 8], 2)(torch.zeros(5, 3)).shape == (5, 2)


def test_ensemble_equals_its_members_alone() -> None:
    ensemble = EnsembleMLP(3, 4, [8, 6], 2)
    inputs = torch.randn(5, 4)
    together = ensemble(inputs)
    for member in range(3):
        x = inputs
        for index, layer in enumerate(ensemble.layers):
            x = x @ layer.weight[member] + layer.bias[member]
            x = functional.relu(x) if index < 2 else x
        torch.testing.assert_close(together[member], x)


def test_ensemble_takes_inputs_per_member() -> None:
    ensemble = EnsembleMLP(2, 4, [8], 1)
    inputs = torch.randn(2, 5, 4)
    torch.testing.assert_close(ensemble(inputs)[1], ensemble(inputs[1])[1])


def test_members_start_apart_and_learn_apart() -> None:
    ensemble = EnsembleMLP(2, 4, [8], 1)
    outputs = ensemble(torch.randn(5, 4))
    assert not torch.allclose(outputs[0], outputs[1])
    outputs[0].sum().backward()
    gradient = ensemble.layers[0].weight.grad
    assert gradient is not None and gradient[0].any() and not gradient[1].any()


def test_actor_log_prob_is_that_of_a_normal() -> None:
    actor = GaussianActor(3, [8], 2)
    with torch.no_grad():
        actor.log_std.copy_(torch.tensor([-1.0, 0.5]))
    observations, actions = torch.randn(6, 3), torch.rand(6, 2) * 2 - 1
    normal = torch.distributions.Normal(actor(observations), actor.log_std.exp())
    expected = normal.log_prob(actions).sum(-1)
    torch.testing.assert_close(actor.log_prob(observations, actions), expected)


def test_actor_samples_by_generator_within_bounds() -> None:
    actor = GaussianActor(3, [8], 2)
    draw = [actor.sample(torch.ones(50, 3), torch.Generator().manual_seed(1)) for _ in range(2)]
    assert torch.equal(*draw) and draw[0].abs().max() <= 1.0


def test_normalised_ensemble_equals_its_members_alone() -> None:
    ensemble = EnsembleMLP(2, 4, [8], 1, layer_norm=True)
    with torch.no_grad():
        ensemble.norms[0].scale.uniform_(0.5, 2.0)
        ensemble.norms[0].shift.uniform_(-1.0, 1.0)
    inputs = torch.randn(5, 4)
    for member in range(2):
        x = inputs @ ensemble.layers[0].weight[member] + ensemble.layers[0].bias[member]
        scale, shift = ensemble.norms[0].scale[member, 0], ensemble.norms[0].shift[member, 0]
        x = functional.relu(functional.layer_norm(x, (8,), scale, shift))
        x = x @ ensemble.layers[1].weight[member] + ensemble.layers[1].bias[member]
        torch.testing.assert_close(ensemble(inputs)[member], x)


def test_squashed_actor_density_is_that_of_a_squashed_normal() -> None:
    actor = SquashedGaussianActor(3, [8], 2, layer_norm=False)
    observations = torch.randn(6, 3)
    actions, log_probs = actor.sample(observations, torch.Generator().manual_seed(1))
    mean, log_std = actor._mean_and_log_std(observations)
    squashed = torch.distributions.TransformedDistribution(
        torch.distributions.Normal(mean, log_std.exp()), torch.distributions.TanhTransform()
    )
    torch.testing.assert_close(squashed.log_prob(actions).sum(-1), log_probs, atol=1e-3, rtol=1e-3)
    assert actions.abs().max() < 1.0
    torch.testing.assert_close(actor(observations), torch.tanh(mean))


@pytest.mark.parametrize("bias", [True, False])
def test_large_linear_layers_equal_torch_ones(bias: bool) -> None:
    torch.manual_seed(0)
    ours = Linear(96, 160, bias=bias)
    theirs = torch.nn.Linear(96, 160, bias=bias)
    theirs.load_state_dict(ours.state_dict())
    inputs = torch.randn(8, 40, 96, requires_grad=True)
    assert large(inputs.flatten(0, -2), [ours.weight[None]]) == onednn.AVAILABLE
    weights = torch.randn(8, 40, 160)
    found, wanted = (
        torch.autograd.grad((layer(inputs) * weights).sum(), [inputs, *layer.parameters()])
        for layer in (ours, theirs)
    )
    torch.testing.assert_close(ours(inputs), theirs(inputs))
    for ours_part, theirs_part in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours_part, theirs_part, atol=1e-4, rtol=1e-5)
