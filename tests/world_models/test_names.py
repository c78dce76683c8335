"""What is said of a name that does not exist."""

from __future__ import annotations

from world_models.names import no_such


def test_the_error_tells_what_is_allowed_and_what_was_meant() -> None:
    said = str(no_such("encoder", "world_model.encoder", "nature_cn", ["mlp", "nature_cnn"], "of this library"))
    assert said == (
        "world_model.encoder=nature_cn: no such encoder. Did you mean nature_cnn? "
        "Allowed: mlp, nature_cnn (of this library)."
    )
    assert str(no_such("form", "f", "???", ["a", "b"])) == "f=???: no such form. Allowed: a, b."
