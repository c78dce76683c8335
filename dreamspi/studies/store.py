"""A study's directory: which trainings it has, and how far each of them is; all of it read from files.

::

    studies/<name>/
      study.yaml            every cell that was ever asked for, with the words that make it
      runs/<cell>/          ordinary run directories
      logs/<cell>.log       what the training said
      outcomes/<cell>.json  how it last ended
      locks/                held while a training, or the study, is at work
      report/               what `dreamspi report` makes
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from dreamspi.config import compose
from dreamspi.errors import UserError, nearest
from dreamspi.locks import NoLocks, take
from dreamspi.run_directory import read_object, write_atomically
from dreamspi.studies.design import Arm, Cell, Design, last_wins, settings


class State(StrEnum):
    """How far a training is."""

    WAITING = "waiting"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    FINISHED = "finished"


class Study:
    """A study on disk.

    Args:
        path: its directory; use ``open`` or ``extend``.
        design: what it was last asked to compare, and all that it compared before.
        cells: its trainings.
    """

    def __init__(self, path: Path, design: Design, cells: Iterable[Cell]) -> None:
        self.path, self.design = path, design
        self.cells = {cell.id: cell for cell in cells}
        self.stop = path / "locks" / "stop"

    @classmethod
    def open(cls, path: str | Path) -> Study:
        """The study in a directory.

        Raises:
            UserError: there is none.
        """
        path = Path(path)
        file = path / "study.yaml"
        if not file.is_file():
            others = sorted(f.parent.name for f in path.parent.glob("*/study.yaml"))
            close = nearest(path.name, others) or others[:3]
            hint = f" Studies there: {', '.join(close)}." if close else ""
            raise UserError(f"{path}: no such study, there is no {file.name} in it.{hint}")
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
            cells = [Cell(**{**entry, "overrides": tuple(entry["overrides"])}) for entry in content["cells"]]
            return cls(path, _read(content["design"]), cells)
        except (OSError, yaml.YAMLError, AttributeError, TypeError, KeyError) as error:
            raise UserError(f"{file}: not a study's, damaged, or of another version of DreamSPI: {error}") from error

    @classmethod
    def extend(cls, path: Path, design: Design, cells: Iterable[Cell]) -> Study:
        """The study in ``path`` with these cells added, made if there is none. Nothing is written: see ``save``.

        Raises:
            UserError: the directory is something else's, or holds trainings of an arm with other settings.
        """
        if not (path / "study.yaml").exists():
            if path.exists() and (not path.is_dir() or any(entry.name != "locks" for entry in path.iterdir())):
                raise UserError(f"{path}: exists already and is not a study's. Choose another name=.")
            return cls(path, design, cells)
        study = cls.open(path)
        known = {(cell.env, cell.arm): cell for cell in study.cells.values()}
        for cell in cells:
            before = known.get((cell.env, cell.arm))
            if before is not None and before.digest != cell.digest:
                raise UserError(_another(path, before, cell))
            study.cells[cell.id] = cell
        study.design = _joined(study.design, design)
        return study

    def save(self) -> None:
        """Writes ``study.yaml``."""
        for folder in ("runs", "logs", "outcomes"):
            (self.path / folder).mkdir(parents=True, exist_ok=True)
        entries = [{**cell._asdict(), "overrides": list(cell.overrides)} for cell in self.cells.values()]
        content = {"design": _written(self.design), "cells": entries}
        write_atomically(self.path / "study.yaml", yaml.safe_dump(content, sort_keys=False))

    def command(self) -> str:
        """What to type to go on with it."""
        path = Path(os.path.abspath(self.path))
        words = ["dreamspi", "study", f"name={path.name}"]
        if path.parent != Path("studies").absolute():
            words.append(f"root={self.path.parent if self.path.name == path.name else path.parent}")
        return shlex.join(words)

    # ------------------------------------------------------------------ one cell

    def run_directory(self, cell: Cell) -> Path:
        """Where its training writes."""
        return self.path / "runs" / cell.id

    def log(self, cell: Cell) -> Path:
        """What its training said."""
        return self.path / "logs" / f"{cell.id}.log"

    def outcome(self, cell: Cell) -> dict[str, Any]:
        """How it last ended: ``exit_code`` and ``reason``; empty if it has not, or well."""
        return read_object(self.path / "outcomes" / f"{cell.id}.json") or {}

    def write_outcome(self, cell: Cell, exit_code: int, reason: str) -> None:
        """For ``outcome``."""
        content = json.dumps({"exit_code": exit_code, "reason": reason}, indent=2) + "\n"
        write_atomically(self.path / "outcomes" / f"{cell.id}.json", content)

    def forget_outcome(self, cell: Cell) -> None:
        """A cell that is about to be tried again has not failed yet."""
        (self.path / "outcomes" / f"{cell.id}.json").unlink(missing_ok=True)

    def summary(self, cell: Cell) -> dict[str, Any] | None:
        """The summary of its training; None before its end."""
        return read_object(self.run_directory(cell) / "summary.json")

    def finished(self, cell: Cell) -> bool:
        """Whether its training came to its end."""
        return (self.run_directory(cell) / "summary.json").is_file()  # written at once, and last

    def state(self, cell: Cell) -> State:
        """How far it is, whoever runs it."""
        if self.finished(cell):
            return State.FINISHED
        if self.is_locked(cell.id):
            return State.RUNNING
        if self.outcome(cell):
            return State.FAILED
        return State.INTERRUPTED if self.run_directory(cell).exists() else State.WAITING

    def states(self) -> dict[str, State]:
        """Of every cell, by its id."""
        return {cell.id: self.state(cell) for cell in self.cells.values()}

    # ------------------------------------------------------------------ locks

    def is_locked(self, name: str) -> bool:
        """Whether some process, of this study's command or left over from an earlier one, holds the lock."""
        path = self.path / "locks" / name
        if not path.exists():
            return False
        with path.open("rb") as file:
            return not _take(file.fileno(), path, wait=False, shared=True)

    @contextmanager
    def locked(self, name: str, wait: bool) -> Iterator[int]:
        """Holds a lock within; yields its file descriptor: a process that inherits it holds the lock as well, so that
        a training is never started twice, even where what started it was killed.

        Raises:
            UserError: it is held, and ``wait`` is false; or the file system has no locks.
        """
        path = self.path / "locks" / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise UserError(
                f"{self.path}: can't be written: {error.strerror}. Choose another directory by root=."
            ) from error
        try:
            if not _take(descriptor, path, wait):
                holder = path.read_text(encoding="utf-8").strip() or "another process"
                raise UserError(f"{self.path}: at work already, in {holder}.")
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {os.uname().nodename}\n".encode(), 0)
            yield descriptor
        finally:
            os.close(descriptor)


def _take(descriptor: int, path: Path, wait: bool, shared: bool = False) -> bool:
    """Locks an open file; false where another holds it."""
    try:
        return take(descriptor, wait, shared)
    except NoLocks as error:
        raise UserError(
            f"{path}: no file locks here ({error}), which a study needs; choose another place by root=. Reports can be "
            "made anywhere."
        ) from error


def _written(design: Design) -> dict[str, Any]:
    """A design as YAML has it."""
    return {
        "environments": {env: list(words) for env, words in design.environments.items()},
        "arms": {arm.name: list(arm.overrides) for arm in design.arms},
        "seeds": list(design.seeds),
        "fixed": list(design.fixed),
        "typed": list(design.typed),
    }


def _read(content: dict[str, Any]) -> Design:
    """The reverse of ``_written``."""
    return Design(
        environments={env: tuple(words) for env, words in content["environments"].items()},
        arms=tuple(Arm(name, tuple(words)) for name, words in content["arms"].items()),
        seeds=tuple(content["seeds"]),
        fixed=tuple(content["fixed"]),
        typed=tuple(content["typed"]),
    )


def _joined(before: Design, now: Design) -> Design:
    """All that either compares, with the words of the later for every training; but where it leaves environments out,
    what only one of them says is for its own environments, so that a further arm gets there what those before got."""
    whole = before.environments.keys() <= now.environments.keys()
    fixed, typed = (
        new if whole else tuple(word for word in new if word in old)
        for old, new in ((before.fixed, now.fixed), (before.typed, now.typed))
    )
    environments = {
        env: last_wins([*_others(of.fixed, fixed), *words, *_others(of.typed, typed)])
        for of in (before, now)
        for env, words in of.environments.items()
    }
    arms = {arm.name: arm for arm in (*before.arms, *now.arms)}
    seeds = tuple(dict.fromkeys((*before.seeds, *now.seeds)))
    return Design(environments, tuple(arms.values()), seeds, fixed, typed)


def _others(words: Sequence[str], common: Sequence[str]) -> list[str]:
    """The words that are not common to all."""
    return [word for word in words if word not in common]


def _another(path: Path, before: Cell, now: Cell) -> str:
    """What to tell where one training was asked for with two settings."""
    then, here = (settings(compose(cell.overrides)) for cell in (before, now))
    differing = sorted(key for key in then.keys() | here.keys() if key != "seed" and then.get(key) != here.get(key))
    what = f"{path}: holds env={now.env}, arm {now.arm} with other settings: "
    if not differing:
        return what + "it was made by another version of DreamSPI. Choose another name=."
    shown = "; ".join(f"{key} is {then.get(key)} there, {here.get(key)} here" for key in differing[:3])
    return f"{what}{shown}{'; ...' if len(differing) > 3 else ''}. Choose another name=."
