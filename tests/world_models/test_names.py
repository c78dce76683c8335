"""What is said of a name that does not exist."""

from __future__ import annotations

import pytest

from world_models import contract
from world_models.names import Unsuited, at_least, no_such


def test_the_error_tells_what_is_allowed_and_what_was_meant() -> None:
    said = str(no_such("encoder", "world_model.encoder", "nature_cn", ["mlp", "nature_cnn"], "of this library"))
    assert said == (
        "world_model.encoder=nature_cn: no such encoder. Did you mean nature_cnn? "
        "Allowed: mlp, nature_cnn (of this library)."
    )
    assert str(no_such("form", "f", "???", ["a", "b"])) == "f=???: no such form. Allowed: a, b."


def test_sizes_that_are_too_small() -> None:
    for fine in (2, 7, [2, 3], (2,)):
        at_least("k", fine, 2, several=True)
    for value, words in (
        (1, "k=1: must be at least 2."),
        ([], r"k=\[\]: one number or more"),
        ([3, 1], "each at least 2"),
    ):
        with pytest.raises(ValueError, match=words):
            at_least("k", value, 2, several=True)
    with pytest.raises(ValueError, match=r"k=\[2, 3\]: must be a whole number of at least 2"):
        at_least("k", [2, 3], 2)


def test_the_contract_has_the_refusal() -> None:
    assert contract.Unsuited is Unsuited and issubclass(Unsuited, ValueError)
