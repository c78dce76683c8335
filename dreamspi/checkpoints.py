"""Checkpoints of a run: written whole or not at all, verified before they are used, never executed.

Each is one TorchRL checkpoint archive (a ZIP, so that every byte has a checksum) that holds one tensor file
per component. These are read by torch's ``weights_only`` loader, which builds tensors and plain containers
and refuses everything else; an archive with any other member is refused before it is opened.
"""

from __future__ import annotations

import os
import shutil
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torchrl.checkpoint import Checkpoint, CheckpointRotation, StateDictCheckpointAdapter

from dreamspi.errors import UserError

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


class CheckpointStore:
    """The checkpoints of one run: the newest few, and the best.

    Args:
        directory: where they lie.
        keep: how many of the newest to keep.
        best_metric: the entry of ``info`` whose maximum marks the checkpoint kept besides them.
    """

    def __init__(self, directory: Path, keep: int, best_metric: str) -> None:
        self.directory = directory
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
        """
        self._clear()
        path = self.directory / f"{PREFIX}-{step:012d}{SUFFIX}"
        temporary = self.directory / f".{path.name}.new"
        checkpoint = _bind(components)
        checkpoint.save(temporary, metadata={"step": step, **info})
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        self.rotation.prune()
        return path

    def paths(self) -> list[Path]:
        """All checkpoints, the newest first, damaged ones included."""
        found = self.directory.glob(f"{PREFIX}-*{SUFFIX}")
        return sorted((p for p in found if p.stem.removeprefix(f"{PREFIX}-").isdigit()), reverse=True)

    def newest(self) -> Path | None:
        """The newest checkpoint that passes verification."""
        return next((path for path in self.paths() if _is_good(path)), None)

    def best(self) -> Path | None:
        """The checkpoint with the best metric among those that pass verification."""
        best = self.rotation.best()
        return best if best is not None and _is_good(best) else None

    def load_newest(self, components: Mapping[str, Any]) -> dict[str, Any]:
        """Restores the newest good checkpoint; a damaged one is skipped with a warning.

        Returns:
            Its ``info``.

        Raises:
            UserError: if there is none.
        """
        for path in self.paths():
            try:
                return load(path, components)
            except Damaged as error:
                warnings.warn(f"{error} It is skipped for the one before.", stacklevel=2)
                self._damaged.append(path)
        raise UserError(f"{self.directory}: no good checkpoint to go on from.")

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
    """
    verify(path)
    held = {name: _Held() for name in components}
    try:
        manifest = _bind(held).load(path, map_location="cpu", tensor_load_kwargs={"weights_only": True}).manifest
    except Exception as error:  # a checksum can match while the content is not what this code writes
        raise Damaged(f"{path}: can't be read: {error}") from error
    for name, component in components.items():
        component.load_state_dict(held[name].state)
    return dict(manifest["metadata"])


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
        raise Damaged(f"{path}: damaged: {error}") from error
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
        checkpoint.register(name, component, adapter=StateDictCheckpointAdapter(payload_format="torch"))
    return checkpoint
