"""Whether what a study compares can be built: found out before anything is trained.

It is built in a process of its own, ``python -m dreamspi.studies.trying``, as a study's command waits for hours and
needs no torch for that. The process reads the cells' words as JSON, and writes the number of each before it builds it,
with why it can't behind the last.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout

from dreamspi.catalogue import env_names
from dreamspi.config import compose
from dreamspi.errors import EXIT_USER_ERROR, UserError
from dreamspi.studies.design import Cell


def check(cells: Sequence[Cell]) -> None:
    """Builds one of each kind of cell.

    Raises:
        UserError: one can't be built; the message begins with its environment and its arm.
    """
    if not (kinds := representatives(cells)):
        return
    print(f"building {len(kinds)} of {len(cells)} cells, to see whether they can be built", flush=True)
    built = subprocess.run(
        [sys.executable, "-m", "dreamspi.studies.trying"],
        input=json.dumps([cell.overrides for cell in kinds]),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for the command alone, which then ends this one
    )
    if built.returncode:
        number, _, told = (built.stdout.splitlines() or ["0"])[-1].partition(" ")
        cell, why = kinds[int(number)], told or f"the process that builds it ended with {built.returncode}"
        raise UserError(f"env={cell.env}, arm {cell.arm}: {why}")


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


def build(words: Sequence[str]) -> None:
    """Builds the training that words of ``dreamspi train`` make. Other machines may train it: its device is not asked
    for, nor a Ray cluster for a collector's workers.

    Raises:
        UserError: it can't be built.
    """
    from dreamspi.machine import prepare
    from dreamspi.trial import tried

    config = compose(words)
    config.device = "cpu"
    if config.collector.backend == "ray":
        config.collector.backend = "direct"
    prepare(threads=1)
    tried(config).close()


def main() -> int:
    """What the process of its own does."""
    for number, words in enumerate(json.load(sys.stdin)):
        print(number, flush=True)
        try:
            with redirect_stdout(sys.stderr):
                build(words)
        except UserError as error:
            print(number, str(error).replace("\n", " "), flush=True)
            return EXIT_USER_ERROR
    return 0


if __name__ == "__main__":
    sys.exit(main())
