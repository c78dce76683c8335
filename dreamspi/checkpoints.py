"""Checkpoints of a run: written whole or not at all, verified before they are used, never executed.

Each is one TorchRL checkpoint archive (a ZIP, so that every byte has a checksum) that holds one tensor file
per component. These are read by torch's ``weights_only`` loader, which builds tensors and plain containers
and refuses everything else; an archive with any other member is refused before it is opened.
"""

from __future__ import annotations

import io
import os
import shutil
import textwrap
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torchrl.checkpoint import Checkpoint, CheckpointRotation, StateDictCheckpointAdapter

from dreamspi.errors import NO_SPACE, UserError

PREFIX = "checkpoint"
SUFFIX = ".torchrl"
_MANIFEST = "manifest.json"
_PAYLOAD = StateDictCheckpointAdapter.state_torch


class Damaged(Exception):
    """A checkpoint that can't be trusted."""


class _Held:
    """Stands in for a component while its state is read, so that nothing real changes before all is read."""

    state: Any = None

    def state_dict(self) -> Any:
        return self.state

    def load_state_dict(self, state: Any) -> None:
        self.state = state


class _Adapter(StateDictCheckpointAdapter):
    """Writes through Python, so that a full disk is an ``OSError``: torch's own writer makes it a ``RuntimeError``
    about positions in a file, which is also what it says of other mishaps."""

    def save(self, component: Any, path: Path, *, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        state = component.state_dict(*args, **kwargs)
        content = io.BytesIO()
        torch.save(state, content)
        path.mkdir(parents=True, exist_ok=True)
        (path / self.state_torch).write_bytes(content.getbuffer())
        return state


class CheckpointStore:
    """The checkpoints of one run: the newest few, and the best.

    Args:
        directory: where they lie.
        keep: how many of the newest to keep.
        best_metric: the entry of ``info`` whose maximum marks the checkpoint kept besides them.
    """

    def __init__(self, directory: Path, keep: int, best_metric: str) -> None:
        self.directory = directory
        self.best_metric = best_metric
        self.rotation = CheckpointRotation(directory, keep_last=keep, keep_best=(best_metric, "max"), prefix=PREFIX)
        self._damaged: list[Path] = []

    def save(self, step: int, components: Mapping[str, Any], info: Mapping[str, Any]) -> Path:
        """Writes a checkpoint and removes those no longer kept.

        Args:
            step: environment steps taken; a checkpoint of the same step is replaced.
            components: objects with ``state_dict`` and ``load_state_dict``. A state holds tensors, numbers,
                texts, bools, None, and lists, tuples and dicts of them.
            info: JSON-compatible facts, given back by ``load``.

        Returns:
            Where it lies.

        Raises:
            OSError: it can't be written; those that were there before still are.
        """
        self._clear()
        path = self.path(step)
        temporary = self.directory / f".{path.name}.new"
        checkpoint = _bind(components)
        checkpoint.save(temporary, metadata={"step": step, **info})
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        self.rotation.prune()
        return path

    def path(self, step: int) -> Path:
        """Where the checkpoint of a step lies, if there is one."""
        return self.directory / f"{PREFIX}-{step:012d}{SUFFIX}"

    def paths(self) -> list[Path]:
        """All checkpoints, the newest first, damaged ones included."""
        found = self.directory.glob(f"{PREFIX}-*{SUFFIX}")
        return sorted((p for p in found if p.stem.removeprefix(f"{PREFIX}-").isdigit()), reverse=True)

    def newest(self) -> Path | None:
        """The newest checkpoint that passes verification."""
        return next((path for path in self.paths() if _is_good(path)), None)

    def load_newest(self, components: Mapping[str, Any]) -> tuple[Path, dict[str, Any]]:
        """Restores the newest good checkpoint; a damaged one is skipped with a warning that names its substitute.

        Returns:
            Where it lies, and its ``info``.

        Raises:
            UserError: if there is none.
        """
        return self._load_first(self.paths(), components)

    def load_best(self, components: Mapping[str, Any]) -> tuple[Path, dict[str, Any]]:
        """``load_newest`` for the checkpoint with the best metric, the newest of these where several have it."""
        merits = {path: merit for path in self.paths() if (merit := self._merit(path)) is not None}
        best_first = sorted(merits, key=merits.__getitem__, reverse=True)
        return self._load_first(best_first, components, f"good checkpoint with a {self.best_metric}")

    def _merit(self, path: Path) -> float | None:
        """The metric; None where there was none yet, and infinity where it can't be read, as it may have been best."""
        try:
            metric = Checkpoint.manifest(path)["metadata"].get(self.best_metric)
            return None if metric is None else float(metric)
        except Exception:  # as many kinds as there are damages
            return float("inf")

    def _load_first(
        self, paths: Iterable[Path], components: Mapping[str, Any], wanted: str = "good checkpoint"
    ) -> tuple[Path, dict[str, Any]]:
        skipped: list[str] = []
        for path in paths:
            try:
                info = load(path, components)
            except Damaged as error:
                skipped.append(str(error))
                self._damaged.append(path)
            else:
                for damage in skipped:
                    warnings.warn(f"{damage} It is skipped, {path} is used instead.", stacklevel=3)
                return path, info
        for damage in skipped:
            warnings.warn(damage, stacklevel=3)
        raise UserError(f"{self.directory}: holds no {wanted}.")

    def _clear(self) -> None:
        """Removes what a killed process left half-written, and what proved damaged: it must not be counted."""
        for left in self.directory.glob(f".*{PREFIX}-*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        for path in self._damaged:
            path.unlink(missing_ok=True)
        self._damaged = []


def load(path: Path, components: Mapping[str, Any]) -> dict[str, Any]:
    """Restores ``components`` from one checkpoint and returns its ``info``.

    No component is touched before the whole file is verified and every state is read.

    Raises:
        Damaged: if the file can't be trusted or lacks a component.
        UserError: if it is sound, and of something else.
        OSError: no space to unpack it; that says nothing of the file.
    """
    verify(path)
    held = {name: _Held() for name in components}
    try:
        manifest = _bind(held).load(path, map_location="cpu", tensor_load_kwargs={"weights_only": True}).manifest
    except Exception as error:  # a checksum can match while the content is not what this code writes
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            raise
        raise Damaged(f"{path}: can't be read: {_sentence(error, path)}") from error
    try:
        for name, component in components.items():
            component.load_state_dict(held[name].state)
    except torch.OutOfMemoryError:
        raise
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"{path}: is of another agent, or another version of DreamSPI: {_first(error)}") from error
    return dict(manifest["metadata"])


def _first(error: Exception) -> str:
    """What does not fit, the first of it: torch has a line for each tensor, under a headline."""
    told = [line.strip() for line in str(error).splitlines() if line.strip()]
    return textwrap.shorten(" ".join(told[:2]), 300, placeholder=" ...")


def _sentence(error: Exception, path: Path) -> str:
    """What an error says, without the path, which stands in front already, and with one full stop."""
    return f"{str(error).replace(f' at {path.absolute()}', '').rstrip('.')}."


def verify(path: Path) -> None:
    """Reads every byte of a checkpoint and checks it against its checksums and its own table of contents.

    Raises:
        Damaged: with what is wrong.
    """
    if not path.is_file():
        raise Damaged(f"{path}: no such checkpoint.")
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
            members = set(archive.namelist())
        records = Checkpoint.manifest(path)["components"].values()
    except Exception as error:  # zipfile raises a dozen kinds on random bytes
        raise Damaged(f"{path}: damaged: {_sentence(error, path)}") from error
    if broken is not None:
        raise Damaged(f"{path}: damaged: the checksum of {broken} does not match.")
    expected = {_MANIFEST} | {f"{record['path']}/{_PAYLOAD}" for record in records}
    if members != expected or any(record["files"] != [_PAYLOAD] for record in records):
        raise Damaged(f"{path}: refused: it holds something else than tensor files.")


def _is_good(path: Path) -> bool:
    try:
        verify(path)
    except Damaged:
        return False
    return True


def _bind(components: Mapping[str, Any]) -> Checkpoint:
    checkpoint = Checkpoint(format="archive")
    for name, component in components.items():
        checkpoint.register(name, component, adapter=_Adapter(payload_format="torch"))
    return checkpoint
