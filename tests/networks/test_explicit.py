"""Passes that are written out give what autograd gives, by either library."""

from __future__ import annotations

import pytest
import torch

from robopref.networks import onednn
from robopref.networks.explicit import ExplicitMLP, Workspace
from robopref.networks.flat import FlatParameters
from robopref.networks.mlp import EnsembleMLP

ROWS, LEARNING = 12, 7


@pytest.fixture(params=["batched", "onednn"])
def library(request, monkeypatch):
    """Which of the two."""
    if request.param == "onednn" and not onednn.AVAILABLE:
        pytest.skip("this PyTorch has no oneDNN")
    monkeypatch.setattr(onednn, "LARGE", 0 if request.param == "onednn" else 2**60)
    return request.param


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("outputs", [1, 5, 20])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_gradients_are_those_of_autograd(library, members, outputs, layer_norm):
    torch.manual_seed(0)
    network = EnsembleMLP(members, 6, [16, 24], outputs, layer_norm)
    inputs = torch.randn(ROWS, 6, requires_grad=True)
    weights = torch.randn(members, ROWS, outputs)
    expected = network(inputs)
    (expected * weights).sum().backward()
    to_inputs = inputs.grad.clone()
    network.zero_grad()
    # Parameters learn from the first rows alone.
    (network(inputs)[:, :LEARNING] * weights[:, :LEARNING]).sum().backward()
    grads = [parameter.grad.clone() for parameter in network.parameters()]

    FlatParameters(network.parameters())
    passes = ExplicitMLP(network, Workspace())
    found = passes.forward(inputs.detach())
    torch.testing.assert_close(found, expected.detach())
    passes.backward(weights.clone(), learning=LEARNING)
    for parameter, gradient in zip(network.parameters(), grads, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
    torch.testing.assert_close(
        passes.input_gradients(slice(3, None), slice(1, 4)), to_inputs[3:, 1:4]
    )


def test_some_members_alone(library):
    torch.manual_seed(0)
    network, inputs = EnsembleMLP(4, 6, [16], 2, layer_norm=True), torch.randn(ROWS, 6)
    chosen = torch.tensor([2, 0])
    found = ExplicitMLP(network, Workspace()).forward(inputs, chosen)
    torch.testing.assert_close(found, network(inputs).detach()[chosen])


def test_large_layers_go_to_onednn():
    weights = [torch.zeros(2, 40, 256), torch.zeros(2, 256, 256)]
    assert onednn.large(torch.zeros(256, 40), weights) == onednn.AVAILABLE
    assert not onednn.large(torch.zeros(16, 40), weights)
    assert not onednn.large(torch.zeros(256, 40, dtype=torch.float64), weights)
    assert not onednn.large(torch.zeros(256, 40, device="meta"), weights)


@pytest.mark.skipif(not onednn.AVAILABLE, reason="this PyTorch has no oneDNN")
def test_autograd_goes_through_onednn(monkeypatch):
    torch.manual_seed(0)
    network = EnsembleMLP(3, 6, [16, 24], 2)
    inputs, gradients = torch.randn(ROWS, 6, requires_grad=True), []
    for large in (2**60, 0):
        monkeypatch.setattr(onednn, "LARGE", large)
        network.zero_grad()
        inputs.grad = None
        network(inputs).square().sum().backward()
        gradients.append([inputs.grad, *(each.grad for each in network.parameters())])
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected)
