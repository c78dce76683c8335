"""Certificates: numbers by hand, each assumption that fails takes just the bounds that need it, and the live ones."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from planners.certificates.assumptions import ALL
from planners.certificates.certificate import Certificate, certify
from planners.certificates.confidence import Estimate
from planners.certificates.evidence import Evidence
from planners.certificates.imagined import Improvement
from planners.certificates.lipschitz import Lipschitz
from tests.planners.certificates.evidence import END, EVIDENCE, START, error
from tests.planners.training import started

#: As a batch of training has it: no whole episodes.
LIVE = replace(
    EVIDENCE,
    episodes=None,
    end=replace(END, episode=None, initial=None),
    start=replace(START, episode=None, initial=None),
)
INITIAL = {"value_difference_initial", "dreamer_difference_initial", "zeta_initial", "promised_initial"}
MEASURED = set(ALL) - {"promised"}


def holds(certificate: Certificate, name: str) -> bool | None:
    return next(a.holds for a in certificate.assumptions if a.name.startswith(name))


def present(evidence: Evidence) -> set[str]:
    return {name for name, bound in certify(evidence).bounds.items() if bound.value is not None}


def test_bounds_by_hand() -> None:
    c = certify(EVIDENCE)
    assert c["value_difference"] == pytest.approx(0.45 / (1 / 1.05 - 0.9))
    assert c["value_difference_by_length"] == pytest.approx(3.6 / (1 / 1.05 - 0.9))
    assert c["value_difference_initial"] == pytest.approx(3.5)
    assert c["dreamer_difference"] == pytest.approx(0.35 / (1 / 1.02 - 0.9)), "its own ratio, and its own error"
    assert c["dreamer_difference_initial"] == pytest.approx(2.25)
    assert c["zeta"] == pytest.approx(c["value_difference"] + c["dreamer_difference"])
    assert c["zeta_initial"] == pytest.approx(5.75)
    assert c["promised_initial"] == pytest.approx(0.7 - 0.1 - 0.2 - 5.75), "less its tail and its radius"
    assert c["representation"] == pytest.approx(2 / 0.05 * c["value_difference"])
    assert c["promised"] is None and "began at initial states" in c.bounds["promised"].verdict
    assert certify(LIVE)["promised"] == pytest.approx(0.4 - c["zeta"])


def test_terms_are_each_bounds_own() -> None:
    c = certify(EVIDENCE)
    assert c.bounds["value_difference"].terms == pytest.approx(
        {"reward": 0.1 / 0.45, "transition": 0.3 / 0.45, "termination": 0.0, "cut": 0.0, "sampling": 0.05 / 0.45}
    )
    assert c.bounds["value_difference_initial"].terms["sampling"] == pytest.approx(0.5 / 3.5)
    assert c.bounds["zeta_initial"].terms["transition"] == pytest.approx(3.5 / 5.75)


def test_probabilities_count_every_radius() -> None:
    found = {name: bound.probability for name, bound in certify(EVIDENCE).bounds.items()}
    assert found["value_difference"] == pytest.approx(0.95) and found["zeta"] == pytest.approx(0.9)
    assert found["promised_initial"] == found["representation"] == pytest.approx(0.85)
    assert certify(replace(EVIDENCE, p=0.4)).bounds["representation"].probability == 0.0


def test_what_says_something() -> None:
    """A bound is compared with the returns that it bounds, a promise with the worst that can happen."""
    c = certify(EVIDENCE)
    assert c.bounds["value_difference"].verdict == "says something"
    assert c.bounds["value_difference_by_length"].verdict == "vacuous", "at the initial state 9 is the most"
    assert c.bounds["representation"].vacuous
    assert c.bounds["promised_initial"].verdict == "says something" and c.bounds["promised_initial"].possible == -9.0
    hopeless = certify(replace(EVIDENCE, end=replace(END, initial=error(8.0, 0.0, 0.0))))
    assert hopeless["promised_initial"] < -9.0 and hopeless.bounds["promised_initial"].verdict == "vacuous"


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_no_number_is_vacuous(number: float) -> None:
    c = certify(replace(EVIDENCE, end=replace(END, initial=error(number, 0.0, 0.0))))
    assert c.bounds["value_difference_initial"].vacuous and c.bounds["promised_initial"].vacuous


STATIONARY = {"value_difference", "value_difference_by_length", "representation"}
THEOREM_3 = {"zeta", "promised", "zeta_initial", "promised_initial"}


@pytest.mark.parametrize(
    ("name", "evidence", "lost"),
    [
        ("D < 1/gamma", replace(EVIDENCE, end=replace(END, D_sup=1.2)), STATIONARY | {"zeta"}),
        (
            "D before the dream < 1/gamma",
            replace(EVIDENCE, start=replace(START, D_sup=1.2)),
            {"dreamer_difference", "zeta"},
        ),
        (
            "D is finite",
            replace(EVIDENCE, end=replace(END, D_sup=math.inf, initial=None)),
            STATIONARY | {"zeta", "value_difference_initial", "zeta_initial", "promised_initial"},
        ),
        ("what follows a cut is bounded", replace(EVIDENCE, gamma=1.0, cuts=3), MEASURED),
        ("what was measured is finite", replace(EVIDENCE, reward=Estimate(math.nan, 0.0, 1.0)), MEASURED),
        ("what was measured is finite", replace(EVIDENCE, start=replace(START, V_max=math.inf)), MEASURED),
        ("the dreamt improvement is possible", replace(EVIDENCE, improvement=None), {"promised_initial"}),
        (
            "the dreamt improvement is possible",
            replace(EVIDENCE, improvement=Improvement(31.0, 0.0, 0.0)),
            {"promised_initial"},
        ),
        (
            "encoder and model fixed",
            replace(EVIDENCE, start=None, improvement=None),
            THEOREM_3 | {"dreamer_difference", "dreamer_difference_initial"},
        ),
    ],
)
def test_an_assumption_that_fails_takes_the_bounds_that_need_it(name: str, evidence: Evidence, lost: set) -> None:
    c = certify(evidence)
    assert holds(c, name) is False
    assert present(evidence) == MEASURED - lost
    needs = set(next(a.needed_by for a in c.assumptions if a.name.startswith(name)))
    assert needs & MEASURED <= lost and all(name in c.bounds[bound].verdict for bound in needs & lost)
    assert not {key for key in c.metrics() if key in lost}


def test_what_only_the_paper_asks_for_takes_nothing() -> None:
    """``K_V`` is estimated itself, and ``D_sup`` is all that our forms need."""
    rough = replace(END, D_inf=0.0, lipschitz=Lipschitz(1.0, 3.0, 0.0, 2.0))
    evidence = replace(EVIDENCE, C=1.3, gamma=0.4, end=rough)
    c = certify(replace(evidence, gamma=0.4))
    assert [holds(c, n) for n in ("equal", "gamma", "K_P")] == [False, False, False]
    assert not any(a.needed_by for a in c.assumptions if a.name.startswith(("equal", "gamma", "K_P", "C <")))
    assert present(evidence) == MEASURED


def test_an_estimate_from_below_proves_nothing() -> None:
    c = certify(EVIDENCE)
    names = ("K_P < 1/gamma", "the latent value is K_V", "the critic is", "D is that of all states", "no sample")
    assert [holds(c, name) for name in names] == [None] * 5
    assert holds(certify(replace(EVIDENCE, end=replace(END, lipschitz=Lipschitz(0, 1.2, 0, 1)))), "K_P") is False


def test_given_constants_prove_something() -> None:
    def known(K_D: float) -> Certificate:  # noqa: N803
        return certify(replace(EVIDENCE, end=replace(END, lipschitz=Lipschitz(1.0, 0.5, K_D, 2.0, known=True))))

    assert holds(known(0.0), "the latent value is K_V") is True
    assert holds(known(0.1), "the latent value is K_V") is None, "V_max is the critic's"
    row = next(a for a in known(0.0).assumptions if a.name == "K_P < 1/gamma")
    assert row.holds is True and "value_difference" in row.needed_by


def test_where_the_data_come_from() -> None:
    whole, live = certify(EVIDENCE), certify(LIVE)
    for name in ("independent samples", "the states are from the stationary"):
        assert (holds(whole, name), holds(live, name)) == (True, None)
    assert holds(certify(replace(EVIDENCE, cuts=2)), "what follows a cut") is None


def test_the_measured_ratio_counts_and_not_the_constant() -> None:
    c = certify(replace(EVIDENCE, gamma=0.99, end=replace(END, D_sup=1.005), start=replace(START, D_sup=1.0)))
    assert holds(c, "C <") is False and holds(c, "D <") is True and c["value_difference"] is not None
    assert "C < 1.0101" in next(a.why for a in c.assumptions if a.name.startswith("C <"))


def test_what_was_not_measured_is_not_what_fails() -> None:
    live = certify(LIVE)
    for name in INITIAL | {"value_difference_by_length"}:
        assert live.bounds[name].verdict == "not measured: there are no whole episodes"
    online = certify(replace(EVIDENCE, start=None, improvement=None))
    assert online.bounds["dreamer_difference"].verdict == "not measured: there was no dream"
    assert online["value_difference_initial"] is not None, "whole episodes tell of an online planner, too"


def test_json_has_everything() -> None:
    found = json.loads(json.dumps(certify(EVIDENCE).to_dict()))
    assert set(found["bounds"]) == set(ALL)
    assert found["bounds"]["zeta"]["verdict"] == "says something"
    assert found["evidence"]["reward"] == {"mean": 0.1, "radius": 0.02, "largest": 1.0}
    assert found["evidence"]["end"]["initial"]["parts"]["transition"] == 2.0
    assert found["evidence"]["episodes"]["earned"] == 8.0
    assert found["largest_C"] == pytest.approx(1 / 0.9) and found["largest_gamma"] == pytest.approx(1 / 1.1)


@pytest.mark.parametrize("planner", ["ppo", "deepmdp", "deepspi", "deepspi_replay", "dreamspi", "hybrid"])
def test_live_certificates_change_nothing(planner: str) -> None:
    """Every planner that learns a model has one, and a run with them ends where a run without them ends."""
    ends, keys = [], set()
    for certifies in (True, False):
        training = started(f"planner={planner}")
        for _ in range(3):
            batch = training.collection.next()
            metrics = training.planner.improve(batch, 0.0, certify=certifies)
            keys |= {key for key in metrics if key.startswith("certificate/")}
        ends.append(copy.deepcopy(training.planner.agent.state_dict()))
        training.close()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert bool(keys) == (planner != "ppo")
    assert ("certificate/dream_improvement" in keys) == (planner in ("dreamspi", "hybrid"))


def test_a_dream_without_weight_is_no_dream() -> None:
    training = started("planner=hybrid", "planner.dream.beta.start=0.5")
    found = [training.planner.improve(training.collection.next(), at, certify=True) for at in (0.2, 0.7)]
    training.close()
    assert ["certificate/dream_improvement" in metrics for metrics in found] == [False, True]


@pytest.mark.parametrize("broken", ["nan", "large"])
def test_a_live_certificate_never_breaks_training(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dream that diverges, or a model of no numbers: the certificate says less, and the iteration ends well."""
    training = started("planner=dreamspi", "planner.certificate.horizon=200", "log_every=1", "certify_every=1")
    planner = training.planner
    run = planner.dream.run

    def breaks(*args: Any) -> dict[str, float]:
        metrics = run(*args)
        with torch.no_grad():
            for parameter in planner.agent.world_model.network.parameters():
                parameter.fill_(torch.nan if broken == "nan" else 1e10)
        return metrics

    monkeypatch.setattr(planner.dream, "run", breaks)
    metrics = training.iterate()
    training.close()
    assert any(key.startswith("certificate/") for key in metrics)
    assert not {"certificate/dream_improvement", "certificate/promised"} & set(metrics)
