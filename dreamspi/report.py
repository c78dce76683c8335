"""``dreamspi report``: what a study has found, as a page, figures and tables."""

from __future__ import annotations

import re
import webbrowser
from pathlib import Path
from typing import NamedTuple

from dreamspi.errors import UserError, unknown, unknown_option
from dreamspi.reports import building, figures, writing
from dreamspi.reports.results import read_results

HELP = """\
usage: dreamspi report <study> [key=value ...]

Makes the report of a study from its finished trainings, as often as you like, also while it runs: a page that opens
from disk without a network, with learning curves, aggregates, profiles, what went on inside the trainings, speed, and
all that the comparison rests on; beside it figures and tables for a paper.

keys:
  study=<directory>  The study; the word alone will do, and so will its name, where it lies under studies/.
  out=<directory>    Where the report goes: a new or empty directory, or an earlier report's.  Default: <study>/report.
  formats=png,pdf    The figures' files: png, pdf, both, or none.
  open=false         Show the page in the browser.

writes:
  index.html         The page.
  figures/           Every chart.
  tables/            Every table, as CSV and LaTeX.
Only files that begin with speed, and in the page what is marked data-clock, depend on how fast the machine was.

examples:
  dreamspi report studies/first
  dreamspi report first out=paper/first formats=pdf
"""


class Options(NamedTuple):
    """What was typed after ``dreamspi report``; the help says what each is."""

    study: Path
    out: Path
    formats: tuple[str, ...] = figures.FORMATS
    open: bool = False


def parse_options(words: list[str]) -> Options:
    """Options from one bare word, the study, and ``key=value`` words.

    Raises:
        UserError: an unknown key, a wrong value, or not exactly one study.
    """
    given: dict[str, str] = {}
    for word in words:
        key, value = _split(word)
        if key not in Options._fields:
            raise unknown_option(key, Options._fields)
        if key in given:
            raise UserError(f"{word}: {key} is given twice; a report is of one study.")
        given[key] = value
    if not given.get("study"):
        raise UserError("which study? dreamspi report studies/<name>")
    study = _study(given["study"])
    out = Path(given["out"]) if given.get("out") else study / "report"
    return Options(study, out, _formats(given.get("formats")), _switch("open", given.get("open", "false")))


def report(options: Options) -> int:
    """Reads, computes, writes, and prints what was found. Returns the exit code."""
    results = read_results(options.study)
    writing.check(options.out)
    made = building.build(results)
    page = writing.write(made, options.out, options.formats)
    for heading, text in made.findings:
        print(f"{heading} {text}")
    print(f"report: {page}")
    if options.open:
        webbrowser.open(page.resolve().as_uri())
    return 0


def _split(word: str) -> tuple[str, str]:
    """Key and value; a word that is no key's, or that names a directory, is the study."""
    key, equals, value = word.partition("=")
    if not equals or (key not in Options._fields and Path(word).is_dir()):
        if word.startswith("-"):
            raise UserError(f"{word}: not understood; write key=value. `dreamspi report --help` lists the keys.")
        return "study", word
    return key, value.strip("'\"")


def _study(word: str) -> Path:
    """The directory that is meant by a path, or by a name alone: what else bears that name here hides no study."""
    path = Path(word)
    named = Path("studies") / word
    elsewhere = (named / "study.yaml").exists() or not path.exists()
    if path.name == word and elsewhere and not (path / "study.yaml").exists():
        path = named
    if (path / "config.yaml").is_file() and not (path / "study.yaml").exists():
        raise UserError(f"{path}: a training's directory, not a study's; look at its {path / 'learning.png'}.")
    return path


def _formats(value: str | None) -> tuple[str, ...]:
    if value is None:
        return figures.FORMATS
    names = [name for name in re.split(r"[\s,\[\]]+", value) if name]
    for name in names:
        if name not in (*figures.FORMATS, "none"):
            raise unknown("formats", name, (*figures.FORMATS, "none"))
    return tuple(dict.fromkeys(name for name in names if name != "none"))


def _switch(key: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise UserError(f"{key}={value}: must be true or false.")
    return value.lower() == "true"
