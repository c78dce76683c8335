"""``dreamspi study``: many trainings under one question, in parallel, resumable."""

from __future__ import annotations

from collections.abc import Sequence

from dreamspi.catalogue import first_comment, options
from dreamspi.errors import UserError
from dreamspi.studies import launching, overview
from dreamspi.studies.design import Cell, cells
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
  study=<preset>     What to compare, from a file; the other keys change it.
  env=[a,b]          Environments, as in `dreamspi train`.  Default: maze.
  planner=[a,b]      Planners.  Default: dreamspi.
  world_model=[a,b]  World models.  Default: the one that `dreamspi train` takes.
  seeds=3            How many seeds (1, 2, 3), or which: seeds=[7,8,9].
  <key>=a,b          Any key of `dreamspi train`, with several values: each makes an arm of its own.
  <key>=<value>      Any key of `dreamspi train`: for every training.
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
  dreamspi study name=first planner=[dreamspi] env=[maze,minatar/breakout] seeds=5 total_steps=100000   add some
  dreamspi study name=horizons planner.dream.horizon=2,4,8 launcher.n_jobs=2
  dreamspi study study=quick
"""


def study(asked: Request) -> int:
    """Runs what is asked for; returns 0 if every cell of it is finished, 1 if some failed, 128 + n after signal n."""
    if asked.design is None:
        found = Study.open(asked.path)
        chosen = list(found.cells.values())
    else:
        chosen = cells(asked.design)
        found = Study.extend(asked.path, chosen)
    launching.check(found, asked.launcher)
    todo = [cell for cell in chosen if _runs(found.state(cell), asked.retry)]
    if asked.dry:
        _show(found, chosen)
        return 0
    if todo:
        launching.require(found, asked.launcher)
    found.save()
    print(f"{asked.path}: {len(chosen)} cells; {overview.summary_line(overview.standings(found))}", flush=True)
    code = 0
    with found.locked("study", wait=False):
        for cell in todo:
            found.forget_outcome(cell)
        if todo:
            with overview.Overview(found, todo):
                code = launching.launch(found, todo, asked.launcher)
    return _close(found, chosen, code)


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
    again = f"dreamspi study name={found.path.name}"
    if str(found.path.parent) != "studies":
        again += f" root={found.path.parent}"
    if failed:
        print(f"try those again by: {again} retry=true")
    if code:
        print(f"stopped; go on with: {again}")
        return code
    if not any(found.state(cell) is State.FINISHED for cell in found.cells.values()):
        raise UserError(f"{found.path}: no cell is finished.")
    print(f"report: dreamspi report {found.path}")
    return 0 if all(found.state(cell) is State.FINISHED for cell in chosen) else EXIT_FAILED
