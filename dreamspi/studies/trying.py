"""Whether what a study compares can be built: found out before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from dreamspi.catalogue import env_names
from dreamspi.config import compose
from dreamspi.errors import UserError
from dreamspi.studies.design import Cell


def check(cells: Sequence[Cell]) -> None:
    """Builds one of each kind of cell, in a process of its own: a study's command waits for hours, and needs no torch.

    Raises:
        UserError: one can't be built; the message begins with its environment and its arm.
    """
    if not (kinds := representatives(cells)):
        return
    print(f"building {len(kinds)} of {len(cells)} cells, to see whether they can be built", flush=True)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as child:
        refusal = child.submit(first_refusal, kinds).result()
    if refusal is not None:
        raise UserError(refusal)


def representatives(cells: Sequence[Cell]) -> list[Cell]:
    """One of all cells that have the same words, but for the seed and which environment of a family they play: these
    differ in less than what a world model or a planner could refuse."""
    return list({(_kind(cell.env), cell.arm, _words(cell)): cell for cell in cells}.values())


def _kind(env: str) -> str:
    """An environment's family, if it is one of the names that this has."""
    family, _, name = env.partition("/")
    return family if name in env_names(family) else env


def _words(cell: Cell) -> tuple[str, ...]:
    return tuple(word for word in cell.overrides if word.partition("=")[0] not in ("env", "seed"))


def first_refusal(cells: Sequence[Cell]) -> str | None:
    """Why the first cell that can't be built can't; None if all can.

    They may be trained on other machines: the device is not asked for, nor a Ray cluster for a collector's workers.
    """
    from dreamspi.trial import tried  # imports torch

    for cell in cells:
        words = [*cell.overrides, "device=cpu"]
        try:
            if compose(words).collector.backend == "ray":
                words.append("collector.backend=direct")
            tried(compose(words)).close()
        except UserError as error:
            return f"env={cell.env}, arm {cell.arm}: {error}"
    return None
