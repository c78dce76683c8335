"""The sections of a report, from made-up results."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from dreamspi.reports.building import build
from dreamspi.reports.charts import Curves, Dots, Report, Section
from dreamspi.reports.findings import APART
from dreamspi.reports.results import Results
from tests.reports.synthetic import results, with_settings
from tests.reports.synthetic import rough_intervals as rough_intervals

PAIR = ("ppo", "deepspi")


def section(report: Report, name: str) -> Section:
    (found,) = [section for section in report.sections if section.name == name]
    return found


def names(report: Report) -> list[str]:
    return [section.name for section in report.sections]


def without(found: Results, *metrics: str) -> Results:
    """The same, as if no training had logged metrics that begin so."""
    runs = [
        dataclasses.replace(run, curves=run.curves.loc[:, [not c.startswith(metrics) for c in run.curves]])
        for run in found.runs
    ]
    return dataclasses.replace(found, runs=tuple(runs))


@pytest.fixture(scope="module")
def whole() -> Report:
    """Two arms in two suites."""
    return build(results((*PAIR, "dreamspi"), ("maze", "minatar/breakout"), failed={("maze", "ppo", 3): "no space"}))


def test_all_sections(whole: Report) -> None:
    assert names(whole) == [
        "findings",
        "curves",
        "aggregates",
        "profiles",
        "improvement",
        "efficiency",
        "neighborhood",
        "losses",
        "latents",
        "certificates",
        "dreams",
        "speed",
        "differences",
        "versions",
        "missing",
    ]
    assert whole.title == "made-up" and whole.lead == "3 arms in 2 environments, from 17 finished trainings."
    assert dict(whole.facts)["Trainings"] == "17 finished, 1 failed"
    assert dict(whole.facts)["Seeds in an environment, n"] == "2 to 3"


def test_every_chart_and_file_has_a_name_of_its_own(whole: Report) -> None:
    groups = [group for section in whole.sections for group in section.groups] + list(whole.extra)
    charts = [chart.name for section in whole.sections for group in section.groups for chart in group.charts]
    tables = [table.name for section in whole.sections for table in section.tables]
    for found in ([group.name for group in groups], charts, tables):
        assert len(set(found)) == len(found)


def test_only_what_begins_with_speed_is_the_clocks(whole: Report) -> None:
    assert [section.name for section in whole.sections if section.clock] == ["speed"]
    speed = section(whole, "speed")
    named = [group.name for group in (*speed.groups, *whole.extra)] + [table.name for table in speed.tables]
    assert all(name.startswith("speed") for name in named)
    timed = [table.name for found in whole.sections for table in found.tables if table.timed]
    assert timed == ["speed"]


def test_the_clock_changes_nothing_else() -> None:
    one, other = (build(results(PAIR, ("maze",), seconds=factor)) for factor in (1.0, 3.0))
    for before, after in zip(one.sections, other.sections, strict=True):
        if not before.clock:
            assert before.text == after.text and before.items == after.items
            for mine, yours in zip(before.tables, after.tables, strict=True):
                assert (mine.csv(), mine.latex()) == (yours.csv(), yours.latex())


def test_findings_say_what_intervals_support() -> None:
    found = build(results(PAIR, ("maze",), quality={"ppo": 0.3, "deepspi": 0.9}))
    told = dict(found.findings)["maze, value at the start:"]
    assert told.startswith("deepspi") and "is above ppo" in told
    same = build(results(PAIR, ("maze",), quality={"ppo": 0.6, "deepspi": 0.6}))
    assert dict(same.findings)["maze, value at the start:"].startswith("No difference that the data support")
    alone = build(results(PAIR, ("maze",), (1,)))
    assert dict(alone.findings)["maze, value at the start:"].startswith("Fewer than 3 seeds")


def test_an_arm_with_a_memory_takes_the_optimum_from_the_maze() -> None:
    found = build(results(PAIR, ("maze",), memory=["deepspi"]))
    assert "aggregates" not in names(found)
    assert "maze, mean return:" in dict(found.findings) and "maze, value at the start:" not in dict(found.findings)
    curves = section(found, "curves")
    (chart,) = curves.groups[0].charts
    assert isinstance(chart, Curves) and chart.y == "mean return" and chart.marks == ()
    told = "maze: the exact value of deepspi is not known, so there all arms are judged by their return"
    assert told in curves.groups[0].text
    assert any(note.startswith(told) for table in curves.tables for note in table.notes)


def test_findings_name_missing_seeds() -> None:
    failed = {("maze", "ppo", 2): "not finite"} | {("maze", "hybrid", seed): "not finite" for seed in (1, 2, 3, 4)}
    found = dict(build(results((*PAIR, "hybrid"), ("maze",), (1, 2, 3, 4), failed=failed)).findings)
    assert "(3 of 4 seeds; 1 failed)" in found["maze, value at the start:"]
    assert "Nothing is known of hybrid (0 of 4 seeds; 4 failed)." in found["maze, value at the start:"]


def test_an_untrained_model_has_no_losses(whole: Report) -> None:
    lines = [
        line for g in section(whole, "losses").groups for c in g.charts if isinstance(c, Curves) for line in c.lines
    ]
    assert {line.arm for line in lines} == {"deepspi", "dreamspi"}
    assert "trains no world model: ppo" in " ".join(section(whole, "losses").text)
    assert not any("L_P" in heading and "ppo" in text for heading, text in whole.findings)


def test_transition_losses_of_different_world_models_are_not_compared() -> None:
    found = dict(build(results(("deepspi", "deepmdp", "rssm"), ("maze",))).findings)
    assert "rssm" not in found["maze, L_P:"] and "deepspi" in found["maze, L_P:"]
    assert found["maze, L_P:"].endswith("Not compared between different world models: their latents' units differ.")
    assert "rssm" in found["maze, L_R:"]
    alone = dict(build(results(("deepspi", "rssm"), ("maze",))).findings)
    assert alone["maze, L_P:"].startswith("Not compared")


def test_one_of_everything() -> None:
    found = build(results(("deepspi",), ("minatar/breakout",), (1,)))
    assert "improvement" not in names(found) and "differences" not in names(found) and "missing" not in names(found)
    assert found.lead == "1 arm in 1 environment, from 1 finished training."


def test_missing_metrics_leave_no_empty_section() -> None:
    found = build(
        without(results(PAIR, ("maze",)), "certificate/", "dream_quality/", "neighborhood/", "maze_", "time/")
    )
    assert not {"certificates", "dreams", "neighborhood"} & set(names(found))
    assert not found.extra and all(line.clock is None for line in _lines(found))


def test_no_game_has_ended() -> None:
    keys = [("minatar/breakout", arm, seed) for arm in PAIR for seed in (1, 2, 3)]
    found = build(results(PAIR, ("minatar/breakout",), no_game=keys))
    assert "aggregates" not in names(found)
    assert dict(found.findings)["minatar/breakout, mean return:"] == "no game has ended."


def test_dreams_by_step(tmp_path: Path) -> None:
    found = dataclasses.replace(results(PAIR, ("maze",)), path=tmp_path)
    for run, errors in zip(found.of("maze", "deepspi"), ([0.1, 0.3], [0.2, None], [0.3, 0.5, 0.9]), strict=True):
        folder = tmp_path / "runs" / run.cell.id
        folder.mkdir(parents=True)
        (folder / "dream.json").write_text(json.dumps({"sampled": {"latent_error_relative": errors}}))
    broken = tmp_path / "runs" / found.of("maze", "ppo")[0].cell.id
    broken.mkdir()
    (broken / "dream.json").write_text("{")
    groups = {group.name: group for group in section(build(found), "dreams").groups}
    (line,) = groups["dream_steps_latent_error_relative"].charts[0].lines  # type: ignore[union-attr]
    assert line.arm == "deepspi" and line.curve.x.tolist() == [1, 2, 3]
    assert line.curve.estimate.tolist() == pytest.approx([0.2, 0.4, 0.9]) and line.curve.n.tolist() == [3, 2, 1]


def test_warnings_where_arms_ran_other_code() -> None:
    found = results(PAIR, ("maze",))
    runs = [
        dataclasses.replace(run, summary=run.summary | {"git_revision": f"{run.cell.arm}-dirty"}) for run in found.runs
    ]
    warnings = section(build(dataclasses.replace(found, runs=tuple(runs))), "versions").warnings
    assert "differ in their git revision" in warnings[0] and "changes that are in no git revision" in warnings[1]
    assert section(build(found), "versions").warnings == []


def test_the_clock_warns_where_not_all_had_the_same_of_the_machine() -> None:
    found = results(PAIR, ("maze",))
    assert section(build(found), "speed").warnings == []
    threads = {("maze", arm, seed): {"threads": 1 + (arm == "deepspi")} for arm in PAIR for seed in (1, 2, 3)}
    (told,) = section(build(with_settings(found, threads)), "speed").warnings
    assert told.startswith("Not all trainings had the same threads (ppo 1, deepspi 2)")
    threads[("maze", "ppo", 3)] = {"threads": 2}
    report = build(with_settings(found, threads))
    assert "(ppo 1 or 2, deepspi 2)" in section(report, "speed").warnings[0]
    assert section(report, "differences").warnings == []


def test_scores_of_different_games_are_not_compared() -> None:
    arms, envs = ("ppo", "deepspi", "hybrid"), ("minatar/breakout", "minatar/space_invaders")
    made = results(arms, envs, quality={"ppo": 0.9, "deepspi": 0.3, "hybrid": 0.1})
    other = {(env, "ppo", seed): {"env.max_steps": 9} for env in envs for seed in (1, 2, 3)}
    report = build(with_settings(made, other))
    scored = [text for heading, text in report.findings if "L_" not in heading] + [
        text for _, text in section(report, "speed").items
    ]
    assert len(scored) == 5
    for text in scored:
        assert text.endswith(APART) and "above ppo" not in text and "ppo" in text
        assert not any("above" in told and "ppo" in told for told in text.split(". "))
    assert any("deepspi" in text.partition("above")[0] for text in scored)
    (chart,) = section(report, "improvement").groups[0].charts
    assert isinstance(chart, Dots) and [dot.label for dot in chart.dots] == ["hybrid over deepspi"]


def test_many_environments_are_not_told_one_by_one() -> None:
    found = build(results(PAIR, tuple(f"other/{k}" for k in range(9)), (1, 2)))
    assert dict(found.facts)["Environments"].startswith("9: other/0, ")
    assert not any(heading.startswith("other/") for heading, _ in found.findings)


def _lines(report: Report) -> list:
    charts = [chart for section in report.sections for group in section.groups for chart in group.charts]
    return [line for chart in charts if isinstance(chart, Curves) for line in chart.lines]
