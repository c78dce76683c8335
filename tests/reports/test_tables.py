"""What a study's tables say, by hand, and that none but the clock's changes when nothing but the clock did."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from dreamspi.reports import provenance, statistics
from dreamspi.reports.comparisons import loss_pairs, pairs
from dreamspi.reports.facts import differences, published
from dreamspi.reports.intervals import bootstrap_mean
from dreamspi.reports.results import Results
from dreamspi.reports.table import Table
from dreamspi.reports.tables import aggregates, losses, maze, scores, tables
from tests.reports.synthetic import ARMS, OPTIMUM, STEPS, results, with_curve, with_settings

ATARI = ("atari/Pong", "atari_stochastic/Breakout")


@pytest.fixture(scope="module")
def study() -> Results:
    return results(failed={("maze", "ppo", 3): "a loss was not finite"}, missing=[("maze", "hybrid", 3)])


@pytest.fixture(scope="module")
def found(study: Results) -> dict[str, Table]:
    return {table.name: table for table in tables(study)}


def test_what_a_study_gets(found: dict[str, Table]) -> None:
    assert list(found) == [
        "scores", "aggregates_maze", "aggregates_minatar", "pairs", "losses_L_P", "losses_L_R", "loss_pairs", "maze",
        "differences", "versions", "failures", "speed",
    ]  # fmt: skip
    assert [name for name, table in found.items() if table.timed] == ["speed"]


def test_another_machine_and_a_resumed_study_give_the_same_bytes(study: Results, found: dict[str, Table]) -> None:
    np.random.seed(5)
    kwargs = {"failed": {("maze", "ppo", 3): "a loss was not finite"}, "missing": [("maze", "hybrid", 3)]}
    for table in tables(results(seconds=7.0, **kwargs)):  # type: ignore[arg-type]
        before = found[table.name]
        same = (table.csv(), table.latex()) == (before.csv(), before.latex())
        assert same is not table.timed, table.name


def test_scores_are_means_with_intervals(study: Results, found: dict[str, Table]) -> None:
    frame = found["scores"].frame
    row = frame[(frame["environment"] == "minatar/breakout") & (frame["arm"] == "deepspi")].iloc[0]
    expected = bootstrap_mean([run.score for run in study.of("minatar/breakout", "deepspi")])
    assert tuple(row[["estimate", "low", "high", "n"]]) == pytest.approx(expected)
    shown = found["scores"].shown
    assert tuple(shown.columns) == ("environment", *ARMS)
    assert shown.set_index("environment").loc["minatar/breakout", "deepspi"] == expected.text()


def test_few_seeds_are_cautioned_about_and_many_are_not() -> None:
    assert any("33%" in note for note in scores(results(seeds=[1, 2])).notes)
    assert any("75% of the time" in note for note in scores(results(seeds=[1, 2, 3])).notes)
    many = scores(results(["ppo"], ["maze"], range(12)))
    assert not any("too sure" in note for note in many.notes)
    one = scores(results(seeds=[1]))
    assert "no interval" in one.shown.iloc[0, 1]
    assert not any("too sure" in note for note in one.notes)


def test_what_takes_long_is_computed_once_for_each_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counting(name: str, whole: Callable) -> Callable:
        def counted(of: Results, suite: str) -> object:
            calls.append((name, suite))
            return whole(of, suite, resamples=2)

        return counted

    for name in ("aggregates", "improvements"):
        monkeypatch.setattr(statistics, name, counting(name, getattr(statistics, name)))
    tables(results(["ppo", "deepspi"], ["maze", "minatar/breakout"]))
    assert sorted(calls) == [(name, s) for name in ("aggregates", "improvements") for s in ("maze", "minatar")]


def test_aggregates_say_what_was_left_out(found: dict[str, Table]) -> None:
    table = aggregates(results(["ppo"], ["minatar/breakout", "minatar/seaquest"]), "minatar")
    assert "minatar/seaquest: left out, no reference score is known for it." in table.notes
    assert any("published strong agent" in note for note in table.notes)
    assert any("gymnax" in note and note.endswith("https://github.com/RobertTLange/gymnax") for note in table.notes)
    assert tuple(found["aggregates_minatar"].shown.columns) == ("arm", "IQM", "median", "mean", "optimality gap")
    assert not any("paper" in note for note in table.notes)
    assert any("IQM 0.61 PPO" in note for note in aggregates(results(["ppo"], ATARI), "atari_stochastic").notes)


def test_losses_are_medians_over_a_training_and_over_environments() -> None:
    rows = 15
    envs = ["minatar/asterix", "minatar/breakout", "minatar/freeway"]
    values = {
        (env, "ppo", seed): [1000.0] + [float(10 * place + seed)] * (rows - 1)
        for place, env in enumerate(envs)
        for seed in (1, 2, 3)
    }
    made = with_curve(results(["ppo"], envs), "model/transition_distance", values)
    frame = losses(made, "L_P").frame.set_index("environment")
    assert frame.loc["minatar/freeway", "estimate"] == pytest.approx(22.0)
    assert frame.loc["median, minatar", "estimate"] == pytest.approx(12.0)
    assert frame.loc["median, minatar", "low"] < 12.0 < frame.loc["median, minatar", "high"]


def test_a_median_of_losses_says_what_was_left_out() -> None:
    envs, row = ["minatar/asterix", "minatar/breakout", "minatar/freeway"], "median, minatar"
    assert not any(row in note for note in losses(results(["ppo", "deepspi"], envs), "L_P").notes)
    missing = [(envs[0], "ppo", seed) for seed in (1, 2, 3)] + [(envs[1], "ppo", 2)]
    notes = losses(results(["ppo", "deepspi"], envs, missing=missing), "L_P").notes
    assert f"{row}: minatar/asterix: left out, ppo has no value there." in notes
    assert f"{row}: minatar/freeway, ppo: seed 2 not used, it is missing in another environment." in notes


def test_the_maze_by_hand() -> None:
    made = results(["ppo"], scores={("maze", "ppo", seed): 4.8 + 0.1 * seed for seed in (1, 2, 3)})
    table = maze(made)
    frame = table.frame.set_index("measure")
    assert frame.loc["value", "estimate"] == pytest.approx(5.0)
    assert frame.loc["P(up), upper", "estimate"] == pytest.approx(0.95)
    assert f"The best policy's value is {OPTIMUM:.4f}." in table.notes


def test_only_intervals_apart_are_called_a_difference() -> None:
    level = {"low": 0.2, "middle": 0.57, "high": 0.6}
    values = {("maze", arm, seed): OPTIMUM * x + 0.2 * seed for arm, x in level.items() for seed in (1, 2, 3)} | {
        ("maze", "few", seed): OPTIMUM for seed in (1, 2)
    }
    arms = [*level, "few"]
    table = pairs(results(arms, ["maze"], scores=values, missing=[("maze", "few", 3)]))
    said = {(row["measure"], row["a"], row["b"]): row["verdict"] for _, row in table.shown.iterrows()}
    assert said["score", "low", "high"] == "high higher"
    assert said["score", "low", "middle"] == "middle higher"
    assert said["score", "middle", "high"] == "not separate"
    assert said["score", "low", "few"] == "too few seeds"
    assert said["IQM", "low", "high"] == "high higher"
    row = table.frame.set_index(["measure", "a", "b"]).loc[("IQM", "low", "high")]
    assert (row["verdict"], row["a_above_b_estimate"]) == ("lower", 0.0)


def test_no_pair_is_formed_of_arms_that_play_something_else() -> None:
    arms, other = ["ppo", "deepspi", "hybrid"], {("maze", "ppo", seed): {"env.path_length": 9} for seed in (1, 2, 3)}
    made = with_settings(results(arms, ["maze", "minatar/breakout"]), other)
    rows = pairs(made).frame.groupby("where")
    found = {where: set(zip(of["a"], of["b"], strict=True)) for where, of in rows}
    assert found["maze"] == {("deepspi", "hybrid")} and len(found["minatar/breakout"]) == 3
    told = "maze: not all arms play the same, they differ in env.path_length; only those that do are compared."
    assert all(told in table.notes for table in (pairs(made), scores(made), aggregates(made, "maze")))
    assert told not in aggregates(made, "minatar").notes


def test_what_an_environment_suggests_to_others_makes_no_other_game() -> None:
    other = {("maze", "ppo", seed): {"env.dream_epochs": 9, "env.num_threads": 2} for seed in (1, 2, 3)}
    table = pairs(with_settings(results(["ppo", "deepspi"], ["maze"]), other))
    assert len(table.frame) == 2 and not any("not all arms play the same" in note for note in table.notes)


def test_losses_are_compared_too_and_lower_is_better() -> None:
    table = loss_pairs(results())
    assert "Lower is better." in table.notes
    assert set(table.shown["measure"]) == {"L_P", "L_R"}
    assert len(table.frame) == 2 * 3 * 6  # of four arms: ppo trains no model
    assert "ppo" not in {*table.frame["a"], *table.frame["b"]}


def test_transition_losses_are_compared_only_within_a_world_model() -> None:
    made = results(["ppo", "deepspi", "rssm", "deepmdp", "small"], ["maze"])
    frame = loss_pairs(made).frame
    pairs_of = {name: set(zip(rows["a"], rows["b"], strict=True)) for name, rows in frame.groupby("measure")}
    assert pairs_of["L_P"] == {("deepspi", "deepmdp")}
    assert len(pairs_of["L_R"]) == 6
    told = "compare only among deepspi, deepmdp."
    assert any(note.endswith(told) for note in losses(made, "L_P").notes)
    assert not any(note.endswith(told) for note in losses(made, "L_R").notes)
    assert not any("World models differ" in note for note in losses(results(["ppo", "deepspi"]), "L_P").notes)


def test_settings_versions_and_failures(found: dict[str, Table]) -> None:
    settings = found["differences"].shown.set_index("setting")
    assert settings.loc["planner.dream.horizon", "hybrid"] == "8"
    assert settings.loc["planner.dream.horizon", "ppo"] == "–"
    versions = found["versions"].frame.set_index("of")
    assert versions.loc["torch", "version"] == "2.13.0"
    assert versions.loc["torch", "trainings"] == 43
    assert [tuple(row) for row in found["failures"].frame.to_numpy()] == [
        ("maze-ppo-s3-0", "failed", "a loss was not finite"),
        ("maze-hybrid-s3-0", "not finished", "–"),
    ]


def test_an_arm_that_differs_from_itself_is_told_loudly() -> None:
    made = with_settings(results(["ppo", "deepspi"], ["maze"]), {("maze", "deepspi", 2): {"total_steps": 1}})
    table = differences(made)
    assert table.shown.set_index("setting").loc["total_steps"].tolist() == ["61440", "61440 or 1"]
    told = "The trainings of arm deepspi differ among themselves in total_steps"
    assert any(note.startswith(told) for note in table.notes)
    assert not any("Everything else is the same" in note for note in table.notes)
    (section, *_) = provenance.sections(made, {"differences": table})
    assert section.warnings[0].startswith(told)
    assert any("Everything else is the same" in note for note in differences(results()).notes)


def test_an_arm_that_is_not_in_an_environment_has_a_dash() -> None:
    made = results(["ppo", "deepspi", "hybrid"], missing=[("maze", "hybrid", seed) for seed in (1, 2, 3)])
    shown = differences(made).shown.set_index("setting")
    assert shown.loc["choices.planner"].tolist() == ["ppo", "deepspi", "–"]


def test_missing_seeds_are_told_beside_every_number() -> None:
    made = results(["ppo", "deepspi"], seeds=range(1, 6), failed={("maze", "ppo", s): "not finite" for s in (4, 5)})
    told = "(3 of 5 seeds; 2 failed)"
    found = {table.name: table for table in tables(made)}
    for name in ("scores", "losses_L_P"):
        shown = found[name].shown.set_index("environment")
        assert shown.loc["maze", "ppo"].endswith(told) and "seeds" not in shown.loc["maze", "deepspi"]
    in_maze = found["pairs"].shown[found["pairs"].shown["where"] == "maze"]
    assert in_maze["of a"].str.endswith(told).all() and not in_maze["of b"].str.contains("seeds").any()
    for name in ("aggregates_maze", "maze"):
        assert f"Missing seeds: ppo {told}." in found[name].notes
    assert not any("Missing" in note for note in found["aggregates_minatar"].notes)


def test_published_scores_stand_beside_ours_with_source_and_protocol() -> None:
    table = next(table for table in tables(results(["ppo", "deepspi"], ATARI)) if table.name == "published")
    pong = table.frame[table.frame["environment"] == "atari/Pong"]
    assert pong["source"].tolist() == [
        "ours, ppo", "baselines_ppo2", "cleanrl_truncation", "cleanrl_envpool", "cleanrl_envpool_vclip",
    ]  # fmt: skip
    breakout = table.frame[table.frame["environment"] == "atari_stochastic/Breakout"]
    assert breakout["source"].tolist() == ["ours, ppo", "stochastic_highest"]
    notes = " ".join(table.notes)
    assert "last 100 games" in notes and "HIGHEST" in notes
    assert f"{STEPS:,} steps, so they are not comparable" in notes
    assert "cleanrl_truncation: CleanRL" in notes and notes.count("https://github.com/vwxyzjn/cleanrl") == 4


def test_a_budget_in_whole_batches_is_comparable() -> None:
    made = results(["ppo"], ATARI)
    runs = [
        dataclasses.replace(
            run, cell=run.cell._replace(steps=10_000_000), summary=run.summary | {"env_steps": 9_999_360}
        )
        for run in made.runs
    ]
    table = published(dataclasses.replace(made, runs=tuple(runs)))
    assert not any("not comparable" in note for note in table.notes)
    assert set(table.frame["steps"]) == {9_999_360, 10_000_000}


def test_no_published_scores_where_none_were_made_under_this_protocol() -> None:
    names = [table.name for table in tables(results(["ppo"], ["maze", "atari_machado/Pong"]))]
    assert "published" not in names


def test_a_study_in_which_no_game_ended_has_tables_still() -> None:
    env = "minatar/breakout"
    made = results(["ppo", "deepspi"], [env], no_game=[(env, arm, s) for arm in ("ppo", "deepspi") for s in (1, 2, 3)])
    found = {table.name: table for table in tables(made)}
    assert "scores" not in found
    assert {"losses_L_P", "speed", "failures"} <= set(found)
