"""Help is written from the configuration, so the configuration must explain itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dreamspi.catalogue import GROUPS, config_directory, documented_keys, options
from dreamspi.cli import COMMANDS, main
from dreamspi.evaluate import Options

FILES = sorted(config_directory().rglob("*.yaml"))
#: Hydra's own, which names after the slash there are (listed elsewhere), and Adam's roles, which the sentence
#: of the section ``optimizers`` explains.
OWN = {"_target_", "_partial_", "defaults", "hydra", "names", "name", "roles"}


def leaves(node: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted keys of a YAML file that hold a value."""
    for key, value in node.items():
        if key in OWN:
            continue
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def explained(path: Path) -> set[str]:
    """The keys with a sentence, here or in the files that this one builds on."""
    found = {key.name for key in documented_keys(path)}
    for parent in (yaml.safe_load(path.read_text()) or {}).get("defaults", []):
        if isinstance(parent, str) and parent != "_self_" and (path.parent / f"{parent}.yaml").is_file():
            found |= explained(path.parent / f"{parent}.yaml")
    return found


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if path.parent.name not in ("experiment", "study")],
    ids=lambda path: f"{path.parent.name}/{path.stem}",
)
def test_every_key_has_a_sentence(path: Path) -> None:
    """Presets apart: they only set keys that are explained where they are defined."""
    content = yaml.safe_load(path.read_text())
    assert sorted(set(leaves(content)) - explained(path)) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_file_begins_with_its_sentence(path: Path) -> None:
    comments = [line for line in path.read_text().splitlines() if line.startswith("#") and "@package" not in line]
    assert comments and 10 < len(comments[0].removeprefix("# ")) <= 120
    assert path.read_text().startswith("# ")


def test_sentences_are_found() -> None:
    keys = {key.name: key for key in documented_keys(config_directory() / "config.yaml")}
    assert keys["checkpoint.every"].default.replace("_", "").isdigit()
    assert keys["run_dir"].default == "null" and keys["run_dir"].sentence.startswith("Directory of the run")
    assert "defaults" not in keys and "hydra.sweep.dir" not in keys


def help_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert err == "" and max(map(len, out.splitlines())) < 160
    return out


def test_the_first_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(["--help"], capsys)
    assert re.findall(r"^  (\w+) +[A-Z].* dreamspi \1\b", text, re.M) == list(COMMANDS)
    for word in ("--version", "Exit codes: 0", "2 wrong input", "3 ", "130", "143"):
        assert word in text
    assert help_of([], capsys) == help_of(["-h"], capsys) == help_of(["help"], capsys) == text


@pytest.mark.parametrize("words", [["train", "--help"], ["train", "seed=1", "-h"], ["train", "help"]])
def test_help_of_train_mentions_every_plain_key(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(words, capsys)
    content = yaml.safe_load((config_directory() / "config.yaml").read_text())
    for key in leaves(content):
        assert re.search(rf"^  {re.escape(key)}=\S+ +[A-Z].*\.$", text, re.M), key


def test_help_of_train_mentions_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(["train", "--help"], capsys)
    for group, sentence in GROUPS.items():
        shown = re.search(rf"^  {group} +{re.escape(sentence)}\n +(.+)$", text, re.M)
        assert shown is not None, group
        assert [name.removesuffix("/<name>") for name in shown[1].split(" | ")] == options(group)
    assert str(config_directory()) in text


def test_help_of_evaluate_mentions_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(["evaluate", "--help"], capsys)
    for name in Options._fields:
        default = Options._field_defaults.get(name, "<run_dir>")
        shown = "null" if default is None else str(default).lower() if isinstance(default, bool) else default
        assert re.search(rf"^  {name}={shown} +[A-Za-z].*\.$", text, re.M), name
    assert main(["evaluate"]) == 2, "nothing was asked for"
    assert capsys.readouterr().out == text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert re.fullmatch(r"dreamspi \d+\.\d+\.\d+\n", help_of(["--version"], capsys))
