"""What a comparison rests on: settings in which arms differ, versions of the code, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping

from dreamspi.reports.charts import Section
from dreamspi.reports.facts import mixtures
from dreamspi.reports.results import Results
from dreamspi.reports.table import Table


def sections(results: Results, tables: Mapping[str, Table]) -> list[Section]:
    """The sections of this file that there is anything for; ``tables`` by name."""
    found = [
        Section("differences", "Configuration", tables=_of(tables, "differences"), warnings=mixtures(results)),
        Section("versions", "Versions", tables=_of(tables, "versions"), warnings=_warnings(results)),
        _missing(results, tables),
    ]
    return [section for section in found if section]


def _of(tables: Mapping[str, Table], *names: str) -> list[Table]:
    return [tables[name] for name in names if name in tables and len(tables[name].shown)]


def _warnings(results: Results) -> list[str]:
    """Where arms differ in the code that they ran, and where it can't be known what that was."""
    keys = dict.fromkeys(key for run in results.runs for key in run.summary if key.startswith("version_"))
    warnings = []
    for key in ("git_revision", *keys):
        name = key.removeprefix("version_").replace("_", " ")
        by_arm = {arm: {str(run.summary.get(key)) for run in results.of(arm=arm)} for arm in results.arms}
        if len({frozenset(values) for values in by_arm.values()}) > 1:
            warnings.append(f"The arms differ in their {name}: a difference between them may be the code's.")
        elif len(set().union(*by_arm.values())) > 1:
            warnings.append(f"Not all trainings have the same {name}.")
    if any(str(run.summary.get("git_revision")).endswith("-dirty") for run in results.runs):
        warnings.append("Some trainings ran code with changes that are in no git revision.")
    return warnings


def _missing(results: Results, tables: Mapping[str, Table]) -> Section:
    told = []
    if results.failed:
        told.append(f"To try the failed ones again: {results.command} retry=true")
    if results.unfinished:
        told.append(f"To go on with those that are not finished: {results.command}")
    return Section("missing", "Failed and unfinished trainings", told, tables=_of(tables, "failures"))
