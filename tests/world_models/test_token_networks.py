"""Token networks: who may see whom, and Soft-MoE against its definition."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from world_models.token_networks import CausalTransformerNetwork, SoftMoE, SoftMoENetwork, TransformerNetwork

NETWORKS = [CausalTransformerNetwork, TransformerNetwork, SoftMoENetwork]


def one_hots(*batch):
    return F.one_hot(torch.randint(0, 5, (*batch, 6)), 5).float()


def influence(network):
    """Whether variable j moves the logits of variable i, ``[6, 6]``, and whether the action does, ``[6]``."""
    torch.manual_seed(0)
    net = network((6, 5), 3, width=16)
    latent = one_hots(1)
    jacobian = torch.autograd.functional.jacobian(lambda z: net(z, torch.tensor([1])).location[0, 0], latent)
    change = (net(latent, torch.tensor([1])).location - net(latent, torch.tensor([2])).location).abs().sum((0, 1, -1))
    return jacobian.abs().sum((1, 2, 4)) > 1e-7, change > 1e-5


@pytest.mark.parametrize("network", NETWORKS)
def test_who_sees_whom(network):
    variables, action = influence(network)
    causal = network is CausalTransformerNetwork
    assert torch.equal(variables, torch.ones(6, 6).tril().bool() if causal else torch.ones(6, 6).bool())
    assert action.all()


@pytest.mark.parametrize("network", NETWORKS)
def test_shapes_and_refusals(network):
    net = network((6, 5), 3, width=16)
    location, scale = net(one_hots(2, 4), torch.randint(0, 3, (2, 4)))
    assert location.shape == (2, 4, 1, 6, 5) and scale is None
    assert net(one_hots(0), torch.randint(0, 3, (0,))).location.shape == (0, 1, 6, 5)
    with pytest.raises(ValueError, match=r"world_model\.network=\w+: for latents of several one-hot variables.*\[6\]"):
        network((6,), 3)
    with pytest.raises(ValueError, match="world_model=categorical"):
        network((6, 5), 3, components=2, with_scale=True)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match=r"world_model\.network\.heads=3.*width=16"):
        TransformerNetwork((6, 5), 3, width=16, heads=3)


@pytest.mark.parametrize(
    ("network", "key"),
    [
        *((TransformerNetwork, key) for key in ("width", "layers", "heads")),
        *((SoftMoENetwork, key) for key in ("width", "layers", "experts", "slots")),
    ],
)
def test_sizes_of_zero_are_refused(network, key):
    with pytest.raises(ValueError, match=rf"world_model\.network\.{key}=0: must be at least 1"):
        network((6, 5), 3, **{key: 0})


def test_soft_moe_is_its_definition():
    """Slot by slot, as in equations 1 to 3 of the paper."""
    torch.manual_seed(0)
    layer, tokens = SoftMoE(8, experts=3, slots=2), torch.randn(4, 5, 8)
    torch.nn.init.normal_(layer.bias)
    expected = torch.zeros_like(tokens)
    for b in range(4):
        phi = layer.slots.reshape(8, 6)
        logits = tokens[b] @ phi
        dispatch, combine = logits.softmax(0), logits.softmax(1)
        slots = dispatch.T @ tokens[b]
        out = []
        for number, slot in enumerate(slots):
            expert = number // 2
            hidden = F.gelu(slot @ layer.inward[expert] + layer.bias[expert, 0])
            out.append(hidden @ layer.outward[expert])
        expected[b] = combine @ torch.stack(out)
    assert torch.allclose(layer(tokens), expected, atol=1e-5)


def test_soft_moe_keeps_the_order_of_tokens():
    """Without positions a permutation of the tokens is the same permutation of the outputs."""
    torch.manual_seed(0)
    layer, tokens, order = SoftMoE(8, 3, 2), torch.randn(2, 5, 8), torch.randperm(5)
    assert torch.allclose(layer(tokens[:, order]), layer(tokens)[:, order], atol=1e-6)
