"""``dreamspi report`` from its words to its files."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from dreamspi.cli import main
from dreamspi.config import compose
from dreamspi.errors import UserError
from dreamspi.report import Options, parse_options
from dreamspi.reports import building, writing
from dreamspi.reports.charts import Report
from dreamspi.reports.results import read_results
from dreamspi.run_directory import RunDirectory
from dreamspi.studies.design import Arm, Design, cells
from dreamspi.studies.store import Study
from tests.reports.synthetic import results
from tests.reports.synthetic import rough_intervals as rough_intervals


def make(path: Path, arms: tuple[str, ...] = ("ppo", "deepspi"), finished: bool = True, failed: bool = False) -> Study:
    """A study on disk with made-up trainings."""
    design = Design({"maze": ()}, tuple(Arm(arm, (f"planner={arm}",)) for arm in arms), (1, 2, 3))
    study = Study.extend(path, design, cells(design))
    study.save()
    made = {(run.cell.arm, run.cell.seed): run for run in results(arms, ("maze",)).runs}
    for cell in study.cells.values() if finished else ():
        if failed and cell.seed == 3 and cell.arm == "ppo":
            study.write_outcome(cell, 1, "no space left")
            continue
        run = made[cell.arm, cell.seed]
        directory = RunDirectory.create(compose([*cell.overrides, f"run_dir={study.run_directory(cell)}"]))
        run.curves.to_csv(directory.metrics)
        directory.summary.write_text(json.dumps(run.summary))
    return study


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with finished trainings, and one that failed; to be copied."""
    return make(tmp_path_factory.mktemp("made") / "first", failed=True).path


@pytest.fixture
def study(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made, tmp_path / "studies" / "first")
    return Path("studies/first")


@pytest.mark.parametrize("words", [["studies/first"], ["first"], ["study=studies/first"], ["study='first'"]])
def test_a_study_is_named_by_path_or_name(study: Path, words: list[str]) -> None:
    assert parse_options(words) == Options(study, study / "report")


def test_all_options(study: Path) -> None:
    found = parse_options(["first", "out=there", "formats=[pdf]", "open=true"])
    assert found == Options(study, Path("there"), ("pdf",), True)
    assert parse_options(["first", "formats=none"]).formats == ()


def test_a_directory_with_an_equals_sign(study: Path) -> None:
    study.rename("lr=1")
    assert parse_options(["lr=1"]).study == Path("lr=1")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["first", "format=png"], "format: no such key here. Did you mean formats"),
        (["first", "format=png"], "Keys: study, out, formats, open."),
        (["name=first"], "name: no such key here."),
        (["first", "formats=svg"], "formats=svg"),
        (["first", "open=maybe"], "must be true or false"),
        (["first", "second"], "given twice"),
        (["out=x"], "which study?"),
        (["first", "--fast"], "write key=value"),
    ],
)
def test_wrong_words(study: Path, words: list[str], told: str) -> None:
    with pytest.raises(UserError) as error:
        parse_options(words)
    assert told in str(error.value)


def test_its_files(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "first", "formats=png"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("maze, value at the start: ") and out[-1] == f"report: {study}/report/index.html"
    made = {str(path.relative_to(study / "report")) for path in (study / "report").rglob("*.*")}
    assert {"index.html", "figures/learning_curves.png", "tables/scores.csv", "tables/scores.tex"} <= made
    assert not any(path.endswith(".pdf") for path in made)
    assert "no space left" in (study / "report" / "index.html").read_text()


def test_it_is_the_same_every_time_and_old_files_go(study: Path) -> None:
    def files() -> dict[str, bytes]:
        assert main(["report", "first", "formats=none"]) == 0
        return {str(path): path.read_bytes() for path in sorted((study / "report").rglob("*.*"))}

    before = files()
    (study / "report" / "figures" / "old.png").touch()
    assert files() == before


def test_an_interrupted_study_has_the_same_report(tmp_path: Path) -> None:
    """On a slower machine, or after a pause: all files but the clock's are equal; of the page, see test_page.py."""
    one = results(("ppo", "deepspi"), ("maze",))
    other = results(("ppo", "deepspi"), ("maze",), seconds=2.5)
    for name, found in (("one", one), ("other", dataclasses.replace(other, path=one.path))):
        report = building.build(found)
        writing.write(report, tmp_path / name, ("pdf",))
    for path in (tmp_path / "one").rglob("*.*"):
        if path.name != "index.html" and not path.name.startswith("speed"):
            assert path.read_bytes() == (tmp_path / "other" / path.relative_to(tmp_path / "one")).read_bytes(), path


def no_study(path: str) -> None:
    (Path(path) / "figures").mkdir(parents=True)
    (Path(path) / "figures" / "mine.png").touch()


def test_what_is_no_study_hides_none(study: Path) -> None:
    no_study("first")
    assert parse_options(["first"]).study == study
    study.rename("first/study")  # then the word names what lies here
    assert parse_options(["first"]).study == Path("first")


def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports that take no time."""
    made = Report("first", "", [], ["ppo"], [], [], [], "")
    monkeypatch.setattr(building, "build", lambda results: made)


def test_an_earlier_report_goes_wherever_it_lies(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    for words in (["out=there"], []):
        assert main(["report", "first", *words]) == 0
        out = Path("there") if words else study / "report"
        for old in (out / "figures" / "old.png", out / "tables" / "old.csv"):
            old.touch()
        assert main(["report", "first", *words]) == 0
        assert sorted(path.name for path in out.rglob("*")) == ["figures", "index.html", "tables"]


def test_what_is_no_report_is_left_alone(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(building, "build", None)  # it is told before anything is computed
    no_study("paper")
    for page in (None, "<!doctype html><title>Mine</title>"):
        if page:
            (Path("paper") / "index.html").write_text(page)
        assert main(["report", "first", "out=paper"]) == 2
        assert "out=paper: exists already and is not a report's" in capsys.readouterr().err
        assert Path("paper/figures/mine.png").exists()


def test_a_report_that_was_cut_short_is_made_again(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(writing, "_files", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            parsed = parse_options(["first", "out=there"])
            writing.write(building.build(None), parsed.out, ())  # type: ignore[arg-type]
    assert main(["report", "first", "out=there"]) == 0
    assert "not finished" not in Path("there/index.html").read_text()


def test_a_file_system_that_is_read_only(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    small(monkeypatch)
    monkeypatch.setattr(writing, "write_atomically", refuse)
    assert main(["report", "first", "out=there"]) == 2
    told = capsys.readouterr().err
    assert told == "dreamspi: out=there: can't be written: Read-only file system.\n"


@pytest.mark.parametrize("words", [["report", "studies/firts"], ["report", "firts"]])
def test_no_such_study(study: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    told = capsys.readouterr().err
    assert told.startswith("dreamspi: studies/firts: no such study") and "Studies there: first" in told
    assert told.count("\n") == 1


def test_a_training_is_no_study(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = next((study / "runs").iterdir())
    assert main(["report", str(run)]) == 2
    assert "a training's directory, not a study's" in capsys.readouterr().err


def test_nothing_is_finished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path / "new", finished=False)
    assert main(["report", str(tmp_path / "new")]) == 2
    told = capsys.readouterr().err
    assert "no training of this study is finished" in told and told.count("\n") == 1
    assert told.rstrip().endswith(f"Run it: dreamspi study name=new root={tmp_path}")
    assert not (tmp_path / "new" / "report").exists()


def test_how_to_go_on_with_a_study_that_lies_elsewhere(study: Path) -> None:
    study.rename("first")
    (section,) = [s for s in building.build(read_results("first")).sections if s.name == "missing"]
    assert section.text == ["To try the failed ones again: dreamspi study name=first root=. retry=true"]


def test_where_it_cant_be_written(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("taken").touch()
    assert main(["report", "first", "out=taken", "formats=none"]) == 2
    assert "out=taken: can't be written" in capsys.readouterr().err


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--help"]) == 0
    told = capsys.readouterr().out
    assert all(f"{option}=" in told for option in Options._fields)
    assert main(["report"]) == 2
