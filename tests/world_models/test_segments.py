"""Latents of segments: each distinct frame is encoded once, with the values and gradients of encoding all twice."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from world_models.segments import encode_transitions


def segments(count: int = 4, length: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """Observations ``[S, L, 3]``, their successors, and where an episode ended."""
    torch.manual_seed(0)
    frames = torch.randn(count, length + 1, 3)
    done = torch.rand(count, length) < 0.3
    after = torch.where(done.unsqueeze(-1), torch.randn(count, length, 3), frames[:, 1:])
    return frames[:, :-1], after, done


class Counting(nn.Linear):
    """A linear encoder that counts what it encodes."""

    encoded = 0

    def forward(self, input: Tensor) -> Tensor:
        self.encoded += input.shape[:-1].numel()
        return super().forward(input)


def test_each_frame_is_encoded_once() -> None:
    """L + 1 frames a segment and one per inner episode end."""
    observation, after, done = segments()
    encoder = Counting(3, 4)
    latent, successor = encode_transitions(encoder, encoder, observation, after, done)
    inner_ends = int(done[:, :-1].sum())
    assert inner_ends > 0 and encoder.encoded == 4 * 9 + inner_ends
    torch.testing.assert_close(latent, encoder(observation))
    torch.testing.assert_close(successor, encoder(after))


def test_gradients_of_shared_frames_add_up() -> None:
    observation, after, done = segments()
    encoder, weight = Counting(3, 4), torch.randn(2, 4, 8, 4)
    parameters = list(encoder.parameters())
    pair = torch.stack(encode_transitions(encoder, encoder, observation, after, done))
    twice = torch.stack((encoder(observation), encoder(after)))
    shared = torch.autograd.grad((pair * weight).sum(), parameters)
    for a, b in zip(shared, torch.autograd.grad((twice * weight).sum(), parameters), strict=True):
        torch.testing.assert_close(a, b)


def test_frames_that_are_only_successors_may_go_without_gradient() -> None:
    """Those at an episode's end, and after a segment's last step; the values are the same."""
    observation, after, done = segments()
    encoder = Counting(3, 4)
    latent, successor = encode_transitions(encoder, torch.no_grad()(encoder), observation, after, done)
    torch.testing.assert_close(successor, encoder(after))
    alone = torch.cat((done[:, :-1], torch.ones_like(done[:, :1])), 1)
    (gradient,) = torch.autograd.grad(successor[alone].sum(), encoder.weight, retain_graph=True)
    assert not gradient.any()
    (gradient,) = torch.autograd.grad(successor[~alone].sum(), encoder.weight)
    (expected,) = torch.autograd.grad(encoder(after)[~alone].sum(), encoder.weight)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("event", [(4,), (2, 2)])
def test_compiled_it_is_one_graph_with_the_same_values_and_gradients(event: tuple[int, ...]) -> None:
    """However many episodes end, and whatever the shape of what frames are encoded to."""
    torch.manual_seed(3)
    weight = torch.randn(3, 4, requires_grad=True)

    def encode(frames: Tensor) -> Tensor:
        return (frames @ weight).unflatten(-1, event)

    @torch.no_grad()
    def encode_successor(frames: Tensor) -> Tensor:
        return encode(frames)

    compiled = torch.compile(encode_transitions, fullgraph=True, backend="eager")
    observation, after, done = segments()
    for ends in (done, ~done, done & False):
        both = (f(encode, encode_successor, observation, after, ends) for f in (compiled, encode_transitions))
        (found, slope), (expected, known) = (
            (torch.stack(pair), torch.autograd.grad(pair[1].tanh().sum(), weight)) for pair in both
        )
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(slope, known)
