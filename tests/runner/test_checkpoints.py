"""Checkpoints: whole or not there, kept by number and by merit, verified before use, never executed."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import resource
import shutil
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from dreamspi.checkpoints import CheckpointStore, Damaged, load, verify
from dreamspi.errors import UserError
from tests.runner.support import PARTS, files_of, fill_disk, rewritten


class Component:
    """A tensor and some plain values."""

    def __init__(self, number: float = 0.0) -> None:
        self.state: Any = {"tensor": torch.full((50,), number), "facts": [1, "two", None, {"three": (3.0, True)}]}
        self.loaded = 0

    def state_dict(self) -> Any:
        return self.state

    def load_state_dict(self, state: Any) -> None:
        self.state, self.loaded = state, self.loaded + 1


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints", keep=2, best_metric="return")


def save(store: CheckpointStore, step: int, value: float | None = None, number: float | None = None) -> Path:
    info = {} if value is None else {"return": value}
    return store.save(step, {"one": Component(step if number is None else number), "two": Component()}, info)


def restored(store: CheckpointStore) -> tuple[float, dict[str, Any]]:
    one = Component()
    path, info = store.load_newest({"one": one, "two": Component()})
    assert path == store.path(info["step"])
    return float(one.state["tensor"][0]), info


def best(store: CheckpointStore) -> str:
    one = Component()
    path, info = store.load_best({"one": one})
    assert one.state["tensor"][0] == info["step"]
    return path.name


def names(store: CheckpointStore) -> list[str]:
    return sorted(path.name for path in store.directory.iterdir())


def name(step: int) -> str:
    return f"checkpoint-{step:012d}.torchrl"


def test_what_is_saved_is_loaded(store: CheckpointStore) -> None:
    mine = Component(7.5)
    store.save(10, {"one": mine}, {"games": 3, "scores": {"returns": [0.1, 1e300]}})
    theirs = Component()
    _, info = store.load_newest({"one": theirs})
    assert info == {"step": 10, "games": 3, "scores": {"returns": [0.1, 1e300]}}
    assert torch.equal(theirs.state["tensor"], mine.state["tensor"])
    assert theirs.state["facts"] == mine.state["facts"]


def test_keeps_the_newest_and_the_best(store: CheckpointStore) -> None:
    for step, value in ((1, 0.0), (2, 9.0), (3, None), (4, 5.0), (5, 8.9), (6, -1.0)):
        save(store, step, value)
    assert names(store) == [name(2), name(5), name(6)]
    assert best(store) == name(2)
    assert store.newest() == store.path(6)
    save(store, 7, 9.5)
    assert names(store) == [name(6), name(7)]
    save(store, 8, 9.5)
    assert best(store) == name(8), "of two equals the newer"


def test_saving_a_step_again_replaces_it(store: CheckpointStore) -> None:
    save(store, 5, number=1.0)
    save(store, 5, number=2.0)
    assert names(store) == [name(5)]
    assert restored(store)[0] == 2.0


@pytest.mark.parametrize("death", ["Checkpoint.save", "os.replace"])
def test_a_kill_while_writing_leaves_the_last_one(
    death: str, store: CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(store, 1)

    replace = os.replace

    def killed(*arguments: Any, **_: Any) -> None:
        if death == "Checkpoint.save":  # somewhere in the middle of the file
            (store.directory / f".{name(2)}.new").write_bytes(b"PK half of a file")
        elif Path(arguments[1]).name != name(2):  # TorchRL's own step towards the file of our temporary name
            return replace(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("dreamspi.checkpoints." + death, killed)
        save(store, 2)
    assert names(store) == [f".{name(2)}.new", name(1)]
    again = CheckpointStore(store.directory, keep=2, best_metric="return")
    assert restored(again)[0] == 1.0
    save(again, 3)
    assert names(again) == [name(1), name(3)], "what was half-written goes, and counts for nothing"


@pytest.mark.parametrize("part", PARTS)
def test_a_full_disk_leaves_the_last_one(part: str, store: CheckpointStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is told as what it is, by whatever is written: torch alone would speak of an unexpected position."""
    save(store, 1)
    before = files_of(store.directory)
    with monkeypatch.context() as patch, pytest.raises(OSError) as caught:
        fill_disk(part, patch)
        save(store, 2)
    assert caught.value.errno == errno.ENOSPC
    assert files_of(store.directory) == before, "nothing half-written takes up space either"
    assert restored(store)[0] == 1.0
    save(store, 2)
    assert names(store) == [name(1), name(2)]


def test_a_file_that_may_not_grow(store: CheckpointStore) -> None:
    """The same by a limit of the system's, which cuts the file of tensors short in its midst."""
    save(store, 1)
    large = {"one": Component(), "two": Component()}
    large["one"].state["tensor"] = torch.zeros(100_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError) as caught:
            store.save(2, large, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG
    assert names(store) == [name(1)] and restored(store)[0] == 1.0


def test_no_space_to_unpack_is_no_damage(store: CheckpointStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a full disk of temporary files would have a good checkpoint skipped, and then removed."""
    save(store, 1)
    save(store, 2)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"), warnings.catch_warnings():
        warnings.simplefilter("error")
        patch.setattr(shutil, "copyfileobj", full)
        restored(store)
    save(store, 3)
    assert names(store) == [name(2), name(3)]


def _flipped(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 0x10]) + content[position + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:100],
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: b"\0" * len(content),
        lambda content: _flipped(content, 200),
        lambda content: _flipped(content, len(content) // 2),
        lambda content: _flipped(content, content.index(b'"metadata"') + 3),
    ],
    ids=["empty", "head", "last byte", "half", "zeros", "early byte", "middle byte", "manifest byte"],
)
def test_a_damaged_one_is_skipped_for_the_one_before(damage: Any, store: CheckpointStore) -> None:
    save(store, 1)
    newest = save(store, 2, value=100.0)
    newest.write_bytes(damage(newest.read_bytes()))
    with pytest.raises(Damaged, match=str(newest)):
        verify(newest)
    used = f"It is skipped, {store.path(1)} is used instead"
    with pytest.warns(UserWarning, match=rf"^{newest}: damaged: .*\. {used}\.$") as caught:
        assert restored(store)[0] == 1.0
    assert len(caught) == 1
    found = store.newest()
    assert found is not None and found.name == name(1)
    save(store, 3)
    save(store, 4)
    assert names(store) == [name(3), name(4)], "the damaged one is neither kept nor counted as the best"


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: _flipped(content, len(content) // 2)])
def test_a_damaged_best_is_skipped_for_the_next_best(damage: Any, store: CheckpointStore) -> None:
    """Whether its return can still be read or not: it may have been the best."""
    save(store, 1, value=9.0)
    for step, value in ((2, 7.0), (3, 8.0)):
        save(CheckpointStore(store.directory, keep=3, best_metric="return"), step, value)
    store.path(1).write_bytes(damage(store.path(1).read_bytes()))
    with pytest.warns(UserWarning, match=f"{store.path(1)}: damaged.* {store.path(3)} is used instead"):
        assert best(store) == name(3)


def test_every_byte_matters_or_is_not_read(store: CheckpointStore) -> None:
    """Whatever single byte is flipped: refused, or the same state as before."""
    path = store.save(1, {"one": Component(3.0)}, {})
    content = path.read_bytes()
    for position in range(0, len(content), 37):
        path.write_bytes(_flipped(content, position))
        one = Component()
        try:
            info = load(path, {"one": one})
        except Damaged:
            assert one.loaded == 0
        else:
            assert info["step"] == 1 and torch.equal(one.state["tensor"], torch.full((50,), 3.0))


def test_nothing_to_go_on_from(store: CheckpointStore) -> None:
    with pytest.raises(UserError, match=f"{store.directory}: holds no good checkpoint\\."):
        store.load_newest({"one": Component()})
    assert store.newest() is None and store.paths() == []
    save(store, 1)
    with pytest.raises(UserError, match=f"{store.directory}: holds no good checkpoint with a return\\."):
        best(store)  # no game has ended, so none is better than another
    store.path(1).write_bytes(b"")
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(UserError, match="no good checkpoint"):
        restored(store)


def test_all_or_nothing_is_restored(store: CheckpointStore) -> None:
    path = store.save(1, {"one": Component(1.0)}, {})
    one = Component()
    with pytest.raises(Damaged, match="can't be read"):
        load(path, {"one": one, "another": Component()})
    assert one.loaded == 0
    with pytest.raises(Damaged, match="no such checkpoint"):
        load(path.with_name("nowhere"), {"one": one})


# ------------------------------------------------------------------ nothing in a file is run


class Malicious:
    """Its pickle, once executed, leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def test_the_mark_would_be_left(tmp_path: Path) -> None:
    """Without this the tests below would say nothing."""
    pickle.loads(pickle.dumps(Malicious(tmp_path / "mark")))
    assert (tmp_path / "mark").exists()
    torch.load(io.BytesIO(saved(Malicious(tmp_path / "other"))), weights_only=False)
    assert (tmp_path / "other").exists()


@pytest.mark.parametrize("kind", ["torch", "pickle"])
def test_a_pickle_in_the_place_of_tensors(kind: str, store: CheckpointStore, tmp_path: Path) -> None:
    save(store, 1)
    path, mark = save(store, 2), tmp_path / "mark"
    with zipfile.ZipFile(path) as archive:
        member = next(member for member in archive.namelist() if member.endswith(".pt"))
    evil = {"tensor": Malicious(mark)}
    rewritten(path, {member: saved(evil) if kind == "torch" else pickle.dumps(evil, protocol=2)})
    verify(path)  # its checksums are in order: only the loader can tell
    with pytest.raises(Damaged, match="can't be read"):
        load(path, {"one": Component(), "two": Component()})
    with pytest.warns(UserWarning, match="It is skipped"):
        assert restored(store)[0] == 1.0
    assert not mark.exists()


def _with_adapter(manifest: dict[str, Any], files: list[str]) -> bytes:
    """A table of contents that asks for the reading of pickled objects."""
    for record in manifest["components"].values():
        record["adapter"] = "torchrl.pickle"
        record["files"] = files
    return json.dumps(manifest).encode()


@pytest.mark.parametrize("kind", ["a member more", "a member of a component", "another adapter", "a way out"])
def test_a_foreign_member_is_refused(kind: str, store: CheckpointStore, tmp_path: Path) -> None:
    path, mark = save(store, 1), tmp_path / "mark"
    evil = pickle.dumps(Malicious(mark))
    with zipfile.ZipFile(path) as archive:
        folder = next(member for member in archive.namelist() if member.endswith(".pt")).rpartition("/")[0]
        manifest = json.loads(archive.read("manifest.json"))
    change = {
        "a member more": {"setup.py": b"raise SystemExit"},
        "a member of a component": {f"{folder}/state.pkl": evil},
        "another adapter": {f"{folder}/state.pkl": evil, "manifest.json": _with_adapter(manifest, ["state.pkl"])},
        "a way out": {"../outside": b"escaped"},
    }[kind]
    rewritten(path, change)
    with pytest.raises(Damaged, match="refused: it holds something else than tensor files"):
        load(path, {"one": Component(), "two": Component()})
    assert store.newest() is None
    assert not mark.exists() and not (tmp_path / "outside").exists() and not (store.directory / "outside").exists()


def test_a_good_one_gives_no_warning(store: CheckpointStore) -> None:
    save(store, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert restored(store) == (1.0, {"step": 1})


# ------------------------------------------------------------------ of something else


def test_a_sound_one_of_another_agent_is_told_with_the_first_tensor_that_does_not_fit(store: CheckpointStore) -> None:
    path = store.save(1, {"one": torch.nn.Linear(2, 3)}, {})
    told = r"Linear: size mismatch for weight: .*\[3, 2\].* current model is torch.Size\(\[4, 2\]\)\.$"
    with pytest.raises(UserError, match=f"^{path}: is of another agent, or .*{told}"):
        load(path, {"one": torch.nn.Linear(2, 4)})
