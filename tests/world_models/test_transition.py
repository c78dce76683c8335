"""Transition networks: axes stay apart, the fast soft mixture equals its definition, shares sum to one."""

from __future__ import annotations

import pytest
import torch

from world_models.transition import (
    HalfShares,
    LearnedShares,
    LipschitzNetwork,
    PaperLipschitzNetwork,
    PlainNetwork,
)

SHAPES = [(6,), (6, 3, 4)]


def inputs(shape, *batch):
    torch.manual_seed(0)
    return torch.randn(*batch, *shape), torch.randint(0, 3, batch)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("network", [PlainNetwork, LipschitzNetwork, PaperLipschitzNetwork])
def test_soft_mixture_is_the_weighted_sum_of_the_components(network, shape):
    """With one component chosen it is that one, at every channel and position: no reshape mixes axes."""
    net = network(shape, 3, components=4, with_scale=True, hidden=8)
    torch.nn.init.normal_(net.heads.bias)
    latent, action = inputs(shape, 2, 5)
    location, scale = net(latent, action)
    assert location.shape == scale.shape == (2, 5, 4, *shape)
    assert (scale >= 0).all()
    for chosen in range(4):
        mean, scales = net.soft(latent, action, torch.eye(4)[chosen].expand(3, -1))
        assert torch.allclose(mean, location[:, :, chosen], atol=1e-5)
        assert torch.allclose(scales[:, :, chosen], scale[:, :, chosen], atol=1e-5)
        assert scales.count_nonzero() == scale[:, :, chosen].count_nonzero()
    weights = torch.rand(3, 4).softmax(-1)
    mean, scales = net.soft(latent, action, weights)
    chosen = weights[action].reshape(2, 5, 4, *[1] * len(shape))
    assert torch.allclose(mean, (chosen * location).sum(2), atol=1e-5)
    assert torch.allclose(scales, chosen * scale, atol=1e-5)


def test_component_heads_act_on_their_own_channel():
    """Raising the bias of one component's one channel moves that channel of that component alone."""
    for shape in SHAPES:
        net = PlainNetwork(shape, 3, components=2, hidden=8)
        latent, action = inputs(shape, 4)
        before = net(latent, action).location.detach()
        with torch.no_grad():
            net.heads.bias[1, 2] += 1.0
        moved = (net(latent, action).location - before).abs() > 1e-3
        assert moved[:, 1, 2].all() and moved.count_nonzero() == moved[:, 1, 2].count_nonzero()


@pytest.mark.parametrize(("network", "first"), [(PlainNetwork, 1), (LipschitzNetwork, 1), (PaperLipschitzNetwork, 2)])
def test_a_cell_of_a_map_sees_all_its_neighbors(network, first):
    """But for the paper's network, in which each sees only what lies below and to its right."""
    torch.manual_seed(0)
    net = network((4, 5, 5), 3, hidden=64)
    latent = torch.randn(8, 4, 5, 5, requires_grad=True)
    net(latent, torch.zeros(8, dtype=torch.long)).location[:, 0, :, 2, 2].sum().backward()
    seen = latent.grad.abs().sum((0, 1)) > 0.0
    expected = torch.zeros(5, 5, dtype=torch.bool)
    expected[first : first + 3, first : first + 3] = True
    assert torch.equal(seen, expected)


def test_action_matters_for_every_network():
    for network in (PlainNetwork, LipschitzNetwork):
        for shape in SHAPES:
            net = network(shape, 3, hidden=8)
            latent, _ = inputs(shape, 1)
            outputs = [net(latent, torch.tensor([a])).location for a in range(3)]
            assert not torch.allclose(outputs[0], outputs[1]) and not torch.allclose(outputs[1], outputs[2])


@pytest.mark.parametrize("with_scale", [True, False])
def test_shares_sum_to_one(with_scale):
    assert HalfShares(with_scale)().sum() == 1
    shares = LearnedShares(with_scale)
    torch.nn.init.normal_(shares.logits)
    assert torch.allclose(shares().sum(), torch.tensor(1.0))


def test_learned_shares_can_stand_still_where_halves_cannot():
    """``z' = z``: the budget given to ``z`` itself reaches it, fixed halves contract by two."""
    still = LipschitzNetwork((6,), 3, with_scale=True, hidden=8)
    with torch.no_grad():
        still.shares.logits.copy_(torch.tensor([30.0, 0.0, 0.0]))
    latent, action = inputs((6,), 5)
    assert torch.allclose(still(latent, action).location[:, 0], latent, atol=1e-5)
    half = PaperLipschitzNetwork((6,), 3, with_scale=True, hidden=8)
    ends = half(torch.stack((latent[0], -latent[0])), torch.zeros(2, dtype=torch.long)).location[:, 0]
    assert (ends[0] - ends[1]).norm() <= 0.5 * (2 * latent[0]).norm() + 1e-5


@pytest.mark.parametrize(
    ("network", "hidden", "told"),
    [
        (PlainNetwork, 0, "=0: must be at least 1"),
        (PlainNetwork, [], r"=\[\]: one number or more, each at least 1"),
        (PlainNetwork, [8, 0], r"=\[8, 0\]: one number or more, each at least 1"),
        (PlainNetwork, "wide", "=wide: must be a whole number of at least 1"),
        (PlainNetwork, 1.5, "=1.5: must be a whole number of at least 1"),
        (PlainNetwork, True, "=True: must be a whole number of at least 1"),
        (PlainNetwork, [8, "a"], r"=\[8, 'a'\]: one number or more, each a whole number of at least 1"),
        (LipschitzNetwork, 0, "=0: must be at least 2"),
        (PaperLipschitzNetwork, -2, "=-2: must be at least 2"),
    ],
)
def test_widths_that_are_none_are_refused(network, hidden, told):
    with pytest.raises(ValueError, match=r"world_model\.network\.hidden" + told):
        network((6,), 3, hidden=hidden)


@pytest.mark.parametrize(("shape", "width"), [((6,), 128), ((8, 3, 3), 64)])
def test_the_default_width_is_half_on_feature_maps(shape, width):
    layers = PlainNetwork(shape, 3).trunk.layers
    assert [layer.weight.shape[:2] for layer in layers] == [(width, shape[0]), (width, width)]


def test_odd_width_is_refused():
    with pytest.raises(ValueError, match=r"world_model\.network\.hidden=7"):
        LipschitzNetwork((6,), 3, hidden=7)
