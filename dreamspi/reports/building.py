"""The whole report of a study's results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dreamspi import __version__
from dreamspi.reports import inside, outcome, provenance, speed
from dreamspi.reports.charts import Report, Section
from dreamspi.reports.comparisons import LOSSES
from dreamspi.reports.findings import among, compare, intervals
from dreamspi.reports.games import same_game
from dreamspi.reports.intervals import Interval
from dreamspi.reports.models import comparable
from dreamspi.reports.normalization import suite
from dreamspi.reports.results import Results
from dreamspi.reports.scores import scores, suites
from dreamspi.reports.seeds import shortfalls
from dreamspi.reports.table import Table
from dreamspi.reports.tables import tables

#: Names that are told one by one.
MOST_NAMED = 8
HOW = (
    "Intervals hold 95% of a bootstrap over the seeds. With few seeds they are too narrow, and none is corrected for "
    "how many arms are compared. A difference is told only where two intervals do not overlap."
)


def build(results: Results) -> Report:
    """All sections that there is anything for."""
    made = {table.name: table for table in tables(results)}
    findings = _findings(results, made)
    found = [
        Section("findings", "Findings", [HOW], items=findings, tables=[t for n, t in made.items() if n == "pairs"]),
        *outcome.sections(results, made),
        *inside.sections(results, made),
        speed.section(results, [table for table in made.values() if table.timed]),
        *provenance.sections(results, made),
    ]
    on_clock = speed.curves_on_clock(outcome.learning_curves(results))
    return Report(
        title=results.name,
        lead=_lead(results),
        facts=_facts(results),
        arms=results.arms,
        findings=findings,
        sections=[section for section in found if section],
        extra=[on_clock] if on_clock else [],
        footer=f"Made by DreamSPI {__version__} from what each training logged.",
    )


def _findings(results: Results, made: Mapping[str, Table]) -> list[tuple[str, str]]:
    """On the IQM of each suite of several, on scores in each environment unless these are many, on the model's errors
    in each suite."""
    found = []
    several = [s for s in suites(results) if sum(suite(env) == s for env in results.environments) > 1]
    for name in several:
        aggregates = made.get(f"aggregates_{name}")
        if aggregates is not None:
            rows = aggregates.frame[aggregates.frame["aggregate"] == "IQM"]
            known = intervals(rows)
            whole = scores(results, name).environments
            told = among(known, same_game(results, whole), shortfalls(results, whole, known))
            found.append((f"{name}, IQM of normalized scores:", told))
    for env in results.environments if len(results.environments) <= MOST_NAMED else ():
        known = _there(made, "scores", env)
        told = among(known, same_game(results, [env]), shortfalls(results, [env], known))
        found.append((f"{env}, {outcome.score_name(results, env)}:", told if known else "no game has ended."))
    places = {suite(env): (env, env, [env]) for env in results.environments}
    for name in several:
        arms = {env: {run.cell.arm for run in results.of(env)} for env in results.environments if suite(env) == name}
        shared = [env for env, there in arms.items() if there == set().union(*arms.values())]
        places[name] = (f"median, {name}", f"{name}, median over its environments", shared)
    for loss in LOSSES:
        for row, place, environments in places.values():
            there = _there(made, f"losses_{loss}", row)
            short = shortfalls(results, environments, there)
            told = _of_models(there, comparable(results, loss, environments), short)
            if told:
                found.append((f"{place}, {loss}:", told))
    return found


def _of_models(there: Mapping[str, Interval], groups: Sequence[Sequence[str]], short: Mapping[str, str]) -> str:
    """What may be said of a local loss; nothing where fewer than two arms have it."""
    found = [{arm: there[arm] for arm in group if arm in there} for group in groups]
    told = [
        compare(group, below="below", short={arm: text for arm, text in short.items() if arm in group})
        for group in found
        if len(group) > 1
    ]
    if sum(map(bool, found)) > 1:
        told.append("Not compared between different world models: their latents' units differ.")
    return " ".join(told)


def _there(made: Mapping[str, Table], table: str, place: str) -> dict[str, Interval]:
    """The arms' intervals in an environment, from a table by environment and arm."""
    if table not in made:
        return {}
    rows = made[table].frame
    return intervals(rows[rows["environment"] == place])


def _lead(results: Results) -> str:
    trainings = _counted(len(results.runs), "finished training")
    arms, environments = _counted(len(results.arms), "arm"), _counted(len(results.environments), "environment")
    return f"{arms} in {environments}, from {trainings}."


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _facts(results: Results) -> list[tuple[str, str]]:
    seeds = sorted({run.cell.seed for run in results.runs})
    steps = sorted({run.cell.steps for run in results.runs})
    each = sorted({len(runs) for env in results.environments for arm in results.arms if (runs := results.of(env, arm))})
    told = [f"{len(results.runs)} finished"]
    told += [f"{len(results.failed)} failed"] if results.failed else []
    told += [f"{len(results.unfinished)} not finished"] if results.unfinished else []
    return [
        ("Environments", _named(results.environments)),
        ("Arms", _named(results.arms)),
        ("Seeds", _named([str(seed) for seed in seeds])),
        ("Seeds in an environment, n", _range(each)),
        ("Environment steps", _range(steps)),
        ("Trainings", ", ".join(told)),
    ]


def _range(numbers: Sequence[int]) -> str:
    return " to ".join(f"{number:,}" for number in dict.fromkeys((numbers[0], numbers[-1])))


def _named(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= MOST_NAMED else f"{len(names)}: {', '.join(names[:MOST_NAMED])}, ..."
