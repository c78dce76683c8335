"""``dreamspi list``: every option that there is, each with its sentence."""

from __future__ import annotations

import pytest

from dreamspi.catalogue import GROUPS, env_names, first_comment, options
from dreamspi.cli import main
from dreamspi.listing import KINDS, listing


def lines(kind: str) -> dict[str, str]:
    """What is listed of a kind: word to type and sentence."""
    head, *rest = listing([kind]).splitlines()
    assert head == f"{kind}:"
    return dict(line.strip().partition("  ")[::2] for line in rest)


@pytest.mark.parametrize("kind", KINDS)
def test_each_option_with_its_sentence(kind: str) -> None:
    group = KINDS[kind]
    found = {word.partition("/<")[0]: sentence.strip() for word, sentence in lines(kind).items()}
    assert list(found) == [f"{group}={name}" for name in options(group)]
    for name in options(group):
        sentence = found[f"{group}={name}"]
        assert sentence.startswith(first_comment(group, name)) and len(sentence) > 12


def test_every_group_can_be_listed() -> None:
    assert set(KINDS.values()) == {*GROUPS, "study", "launcher"}


def test_names_after_the_slash() -> None:
    envs = lines("envs")
    assert "env=maze" in envs and "env=minatar/<name>" in envs and "env=gym/<name>" in envs
    assert ", ".join(env_names("minatar")) in envs["env=minatar/<name>"]
    assert f"({len(env_names('atari'))})" in envs["env=atari/<name>"]
    assert env_names("atari_machado") == env_names("atari")


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    everything = capsys.readouterr().out
    assert [line for line in everything.splitlines() if line.endswith(":")] == [f"{kind}:" for kind in KINDS]
    assert main(["list", "planners", "envs"]) == 0
    assert capsys.readouterr().out == listing(["planners", "envs"])
    assert main(["list", "--help"]) == 0
    usage = capsys.readouterr().out
    assert all(kind in usage for kind in ("envs", "world_models", "planners", "experiments"))
