"""``dreamspi study``: many trainings under one question, in parallel, resumable."""

from __future__ import annotations

from collections.abc import Sequence

from dreamspi.catalogue import first_comment, options
from dreamspi.config import compose
from dreamspi.errors import UserError
from dreamspi.studies import launching, overview, trying
from dreamspi.studies.design import Cell, cells, digest
from dreamspi.studies.request import Request
from dreamspi.studies.store import State, Study

EXIT_FAILED = 1


def help_text() -> str:
    """What `dreamspi study --help` prints; presets and launchers are read from their files."""
    presets = "\n".join(f"  study={name:<16} {first_comment('study', name)}" for name in options("study"))
    launchers = "\n".join(f"  launcher={name:<16} {first_comment('launcher', name)}" for name in options("launcher"))
    return f"""\
usage: dreamspi study name=<study> [key=value ...]

Trains every combination of environments, planners, world models and seeds, several at a time, each in a run
directory of its own under studies/<study>/runs. Typed again it goes on: what is finished is kept, what was
interrupted continues from its newest checkpoint, and environments, planners or seeds that are new are added.
`dreamspi report studies/<study>` then makes the report.

keys:
  name=<study>       Names the study; with a preset, the preset's name by default.
  study=<preset>     What to compare, from a file; what you type wins over it.
  env=[a,b]          Environments, as in `dreamspi train`.  Default: maze.
  planner=[a,b]      Planners.  Default: dreamspi.
  world_model=[a,b]  World models.  Default: the one that `dreamspi train` takes.
  seeds=3            How many seeds (1, 2, 3), or which: seeds=[7,8,9].
  <key>=a,b          Any key of `dreamspi train`, with several values: each makes an arm of its own.
  <key>=<value>      Any key of `dreamspi train`: for every training of the environments that are named.
  threads=1          Cores that one training takes.
  launcher=local     Where it runs; launcher.<key>=<value> sets what its file lists.
  retry=false        Try the cells again that have failed; they go on from their newest checkpoint.
  dry=false          Show what would run, and run nothing.
  root=studies       Where studies lie.

presets:
{presets}

launchers:
{launchers}

examples:
  dreamspi study name=first env=[maze,minatar/breakout] planner=[ppo,deepspi,hybrid] seeds=3 total_steps=100000
  dreamspi study name=first                                  go on after an interruption
  dreamspi study name=first planner=[dreamspi]               one more arm; what is left open is as it was
  dreamspi study name=first seeds=5                          two more seeds of everything
  dreamspi study name=horizons planner.dream.horizon=2,4,8 launcher.n_jobs=2
  dreamspi study study=quick
"""


def study(asked: Request) -> int:
    """Runs what is asked for; returns 0 if every cell of it is finished, 1 if some failed, 128 + n after signal n."""
    chosen = None if asked.design is None else cells(asked.design)
    found = _opened(asked, chosen)
    if asked.dry:
        launching.check(found, asked.launcher)
        _show(found, chosen or list(found.cells.values()))
        return 0
    launching.require(found, asked.launcher)
    if chosen is not None and not found.is_locked("study"):
        trying.check([cell for cell in chosen if found.state(cell) is State.WAITING])
    with found.locked("study", wait=False):
        found = _opened(asked, chosen)  # nobody else adds to it any more
        found.save()
        chosen = chosen or list(found.cells.values())
        print(f"{asked.path}: {len(chosen)} cells; {overview.summary_line(overview.standings(found))}", flush=True)
        todo = [cell for cell in chosen if _runs(found.state(cell), asked.retry)]
        if asked.design is None:
            _check_version(found, todo)
        for cell in todo:
            found.forget_outcome(cell)
        code = 0
        if todo:
            with overview.Overview(found, todo):
                code = launching.launch(found, todo, asked.launcher)
    return _close(found, chosen, code)


def _opened(asked: Request, chosen: Sequence[Cell] | None) -> Study:
    """The study on disk, with the cells that were asked for."""
    if asked.design is None or chosen is None:
        return Study.open(asked.path)
    return Study.extend(asked.path, asked.design, chosen)


def _check_version(found: Study, todo: Sequence[Cell]) -> None:
    """Raises where a cell that has not begun would compute something else than it was made for."""
    waiting = {(cell.env, cell.arm): cell for cell in todo if found.state(cell) is State.WAITING}
    for cell in waiting.values():
        if digest(compose(cell.overrides)) != cell.digest:
            raise UserError(
                f"{found.path}: another version of DreamSPI, with other defaults, made env={cell.env}, arm "
                f"{cell.arm}. Go on with that version, or choose another name=."
            )


def _runs(state: State, retry: bool) -> bool:
    return state is not State.FINISHED and (state is not State.FAILED or retry)


def _show(found: Study, chosen: Sequence[Cell]) -> None:
    for cell in chosen:
        print(f"{found.state(cell):<12} {cell.id:<60} {' '.join(cell.overrides)}")


def _close(found: Study, chosen: Sequence[Cell], code: int) -> int:
    """Says how it stands at the end."""
    print(overview.summary_line(overview.standings(found)))
    failed = overview.failures(found)
    for line in failed:
        print(line)
    if failed:
        print(f"try those again by: {found.command()} retry=true")
    if code:
        print(f"stopped; go on with: {found.command()}")
        return code
    states = found.states()
    asked = [states[cell.id] for cell in chosen]
    if any(state in (State.INTERRUPTED, State.WAITING) for state in asked):
        print(f"some were broken off; go on with: {found.command()}")
    if State.FINISHED not in states.values():
        raise UserError(f"{found.path}: no cell is finished.")
    print(f"report: dreamspi report {found.path}")
    return 0 if all(state is State.FINISHED for state in asked) else EXIT_FAILED
