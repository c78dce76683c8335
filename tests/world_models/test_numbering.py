"""Numbers for observations: told apart by content, stable, saved, and refused where they can't be had."""

from __future__ import annotations

import copy

import pytest
import torch
from torchrl.data import Binary, Bounded, Categorical, OneHot, Unbounded

from tests.world_models.support import observation_spec
from world_models.contract import Unsuited
from world_models.numbering import Counted, FirstSeen, build_numbering

CELLS = observation_spec("cells")


def pictures(count, seed=0):
    torch.manual_seed(seed)
    return CELLS.expand(count, *CELLS.shape).rand()


def first_seen(capacity):
    return FirstSeen(CELLS, capacity, "world_model.classes")


@pytest.mark.parametrize("shape", [(), (1,)])
def test_an_integer_is_its_own_number(shape):
    numbering = build_numbering(Categorical(7, shape=shape), 16, "key")
    assert isinstance(numbering, Counted) and numbering.capacity == 7
    integers = torch.tensor([[3, 0], [6, 3]])
    assert torch.equal(numbering(integers.reshape(2, 2, *shape)), integers)
    assert numbering(torch.full(shape, 5)).item() == 5


def test_a_one_hot_is_the_integer_that_it_stands_for():
    numbering = build_numbering(OneHot(7, dtype=torch.float32), 16, "key")
    assert numbering.capacity == 7
    assert torch.equal(numbering(torch.eye(7)[[4, 0, 6]]), torch.tensor([4, 0, 6]))
    assert numbering(torch.eye(7)[2]).shape == ()


def test_pictures_are_numbered_in_the_order_of_their_appearance():
    numbering, seen = first_seen(8), pictures(6)
    assert numbering(seen[2]).item() == 0
    assert numbering(seen[[5, 2, 5, 1]]).tolist() == [1, 0, 1, 2]
    assert numbering(seen[torch.tensor([[0, 5], [3, 0]])]).tolist() == [[3, 1], [4, 3]]
    assert numbering(seen).tolist() == [3, 2, 0, 4, 5, 1]


def test_looking_again_changes_nothing_and_any_batch_shape_agrees():
    numbering, seen = first_seen(16), pictures(10)
    numbers = numbering(seen)
    state = copy.deepcopy(numbering.state_dict())
    assert torch.equal(torch.stack([numbering(picture) for picture in seen]), numbers)
    assert torch.equal(numbering(seen.reshape(5, 2, *CELLS.shape)).flatten(), numbers)
    assert numbering(seen[:0]).shape == (0,)
    assert all(torch.equal(value, state[key]) for key, value in numbering.state_dict().items())


def test_one_pixel_by_one_grey_level_makes_another_picture():
    base = pictures(1)[0] // 2
    others = base.repeat(40, 1, 1, 1)
    others.flatten(1)[torch.arange(40), torch.arange(40)] += 1
    assert first_seen(41)(torch.cat((base[None], others))).unique().numel() == 41


@pytest.mark.parametrize(
    "spec",
    [Binary(shape=(4, 10, 10), dtype=torch.bool), Bounded(-3, 3, (2,), dtype=torch.int64), Binary(shape=(12,))],
)
def test_flags_and_integers_are_told_apart_too(spec):
    numbering = build_numbering(spec, 100, "key")
    shown = spec.expand(30, *spec.shape).rand()
    same = (shown[:, None] == shown[None]).flatten(2).all(-1)
    numbers = numbering(shown)
    assert torch.equal(numbers[:, None] == numbers[None], same)


def test_numbers_are_saved():
    numbering, seen = first_seen(16), pictures(10)
    numbers = numbering(seen)
    other = first_seen(16)
    other(pictures(5, seed=1))
    other.load_state_dict(numbering.state_dict())
    assert torch.equal(other(seen.flip(0)), numbers.flip(0))
    assert other(pictures(1, seed=2)).tolist() == [10]


def test_two_runs_number_alike():
    seen = pictures(10)[torch.randint(10, (50,))]
    assert torch.equal(first_seen(10)(seen), first_seen(10)(seen))


def test_a_full_table_is_an_error_that_says_what_to_do():
    numbering, seen = first_seen(8), pictures(10)
    numbering(seen[:7])
    with pytest.raises(Unsuited, match=r"world_model\.classes=8: .* shown 10 distinct observations.*set world_model"):
        numbering(seen)
    assert numbering(seen[:7]).tolist() == list(range(7)), "what failed has changed nothing"
    assert numbering(seen[9]).item() == 7


@pytest.mark.parametrize(
    "spec",
    [
        Unbounded((4,)),
        Bounded(0.0, 1.0, (3,)),
        observation_spec("image"),
        Bounded(0, 255, (3, 40, 40), dtype=torch.uint8),
    ],
)
def test_what_no_table_can_hold_is_refused(spec):
    with pytest.raises(Unsuited, match="an observation that a table can hold") as error:
        build_numbering(spec, 64, "key")
    assert str(list(spec.shape)) in str(error.value) and str(spec.dtype) in str(error.value)


def test_too_many_integers_are_refused_at_once():
    with pytest.raises(Unsuited, match=r"world_model\.classes=64: .* 500 distinct .* world_model\.classes=500"):
        build_numbering(Categorical(500), 64, "world_model.classes")
