"""A run's directory: what lies where, and files that are either whole or not there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dreamspi.config import load
from dreamspi.errors import UserError, tell
from dreamspi.locks import NoLocks, take

#: Free space below which a run does not start, in bytes.
NEEDED_SPACE = 200 * 2**20
#: Packages whose versions a result depends on.
PACKAGES = ("dreamspi", "torch", "torchrl", "tensordict", "gymnasium", "ale-py", "minatar", "numpy")


class RunDirectory:
    """Where one run keeps its files.

    Args:
        path: an existing directory; use ``create`` or ``open``.
        config: the run's resolved configuration.
    """

    def __init__(self, path: Path, config: DictConfig) -> None:
        self.path = path
        self.config = config
        self.metrics = path / "metrics.csv"
        self.summary = path / "summary.json"
        self.picture = path / "learning.png"
        self.checkpoints = path / "checkpoints"

    @classmethod
    def create(cls, config: DictConfig) -> RunDirectory:
        """Makes the directory named by ``run_dir``, or a new one under ``runs/``, and writes ``config.yaml``.

        Raises:
            UserError: if it exists and is not empty, can't be written, or its disk is full.
        """
        path = _claim(Path(str(config.run_dir))) if config.run_dir else _claim_new(config)
        config = config.copy()
        OmegaConf.update(config, "run_dir", str(path))
        write_atomically(path / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
        run = cls(path, config)
        run.checkpoints.mkdir()
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunDirectory:
        """The directory of an earlier run.

        Raises:
            UserError: if it is missing or not a run's.
        """
        path = Path(path)
        return cls(path, load(path))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within, no other process may train this run: two would write into the same files.

        Raises:
            UserError: another one does, or the directory can't be written.
        """
        try:
            descriptor = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise UserError(f"{self.path}: can't be written: {error.strerror}.") from error
        try:
            with suppress(NoLocks):  # then nothing keeps two apart
                if not take(descriptor, wait=False):
                    raise UserError(f"{self.path}: another process is training this run; stop it, or wait.")
            yield
        finally:
            os.close(descriptor)

    def remove(self) -> None:
        """Takes back what ``create`` made, for a run that can't begin."""
        shutil.rmtree(self.path)

    def read_summary(self) -> dict[str, Any] | None:
        """What ``write_summary`` wrote; None before that, or where it can't be read."""
        return read_object(self.summary)

    def write_summary(self, summary: dict[str, Any]) -> dict[str, Any]:
        """Writes ``summary.json``: what was chosen, what came out, and from which code. Returns all of it."""
        choices = self.config.choices
        chosen = {key: choices[key] for key in ("env", "world_model", "planner", "experiment")}
        whole = {**chosen, "seed": self.config.seed, **summary, **provenance()}
        write_atomically(self.summary, json.dumps(whole, indent=2) + "\n")
        return whole


def _claim(path: Path) -> Path:
    """Takes a directory that the user named."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(
            f"run_dir={path}: exists already. Go on with that run by resume={path}, or name another directory."
        )
    _check_space(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"run_dir={path}: can't be written: {error.strerror}.") from error
    return path


def _check_space(path: Path) -> None:
    """Raises, before anything is made, where the disk that ``path`` is to lie on is full."""
    path = path.absolute()
    free = shutil.disk_usage(next(place for place in (path, *path.parents) if place.exists())).free
    if free < NEEDED_SPACE:
        raise UserError(
            f"run_dir={path}: {free >> 20} MB free on its disk, a run needs {NEEDED_SPACE >> 20} MB at least."
        )


def _claim_new(config: DictConfig) -> Path:
    """Takes a name of its own under the runs' root, also where several runs start in one second."""
    root = Path(config.choices.get("root", "runs"))
    _check_space(root)
    chosen = (config.choices.env, config.choices.world_model, config.choices.planner, f"s{config.seed}")
    name = "-".join(str(word).replace("/", "_") for word in chosen) + time.strftime("-%Y%m%d-%H%M%S")
    for suffix in ("", *(f"-{n}" for n in range(2, 1000))):
        try:
            (root / f"{name}{suffix}").mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(f"{root}: can't be written: {error.strerror}. Choose another by run_dir=.") from error
        return _claim(root / f"{name}{suffix}")
    raise UserError(f"{root}/{name}: exists already, a thousand times.")


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file so that, whenever the process dies, the old one or the whole new one is there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    data = content.encode() if isinstance(content, str) else content
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_or_tell(path: Path, content: str | bytes) -> bool:
    """Writes a file that is kept beside what is told anyway; where it can't be written, says so and returns False."""
    try:
        write_atomically(path, content)
    except OSError as error:
        tell(f"{path}: not written: {error.strerror}.")
        return False
    return True


def read_object(path: Path) -> dict[str, Any] | None:
    """The object that a JSON file holds; None where there is no file, or it can't be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def provenance() -> dict[str, str | None]:
    """The code a result comes from: ``git_revision`` (with ``-dirty``; null outside a checkout), versions."""
    found: dict[str, str | None] = {"git_revision": _git_revision()}
    for package in PACKAGES:
        try:
            found[f"version_{package.replace('-', '_')}"] = version(package)
        except PackageNotFoundError:
            found[f"version_{package.replace('-', '_')}"] = None
    return found


def _git_revision() -> str | None:
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
