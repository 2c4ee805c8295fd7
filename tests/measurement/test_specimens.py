"""Specimens of one device that share a target: what each is off by is divided out of the labels."""

import dataclasses

import numpy as np
import pytest
from stored_visits import TARGET, measurement

from latprof.measurement.labels import TargetLabels
from latprof.measurement.records import PairedSamples
from latprof.measurement.store.store import Store
from latprof.measurement.summary import summarize

NETWORKS, VISITS, NOISE = 60, 8, 0.01
FACTOR = 1.05
RATIOS = np.exp(np.random.default_rng(1).uniform(-1, 1, NETWORKS))


def samples(ratio, reference_ms=5.0):
    own = ratio * reference_ms
    return PairedSamples(((own * 2, own, own),) * 2, ((8.0, reference_ms, reference_ms),) * 3)


def labels_of(path, factors, seed=0, slower=1.0):
    """What a store says whose visits are shared by specimens with these factors of their ratios."""
    generator = np.random.default_rng(seed)
    names = sorted(factors)
    with Store.open(path, create=True) as store:
        store.add_target(TARGET, "r")
        for visit in range(VISITS):
            for number, true in enumerate(RATIOS):
                name = names[(number + visit) % len(names)]
                ratio = true * factors[name] * np.exp(NOISE * generator.standard_normal())
                made = measurement(f"n{number}", visit=visit, process=f"{name}/{visit}")
                clock = slower if name == names[-1] else 1.0
                conditions = {"specimen": name} if len(names) > 1 else {}
                store.add(
                    dataclasses.replace(
                        made, samples=samples(ratio, 5.0 * clock), conditions=conditions
                    )
                )
        known = TargetLabels.of(store)
        order = {f"n{number}": number for number in range(NETWORKS)}
        table = known.labels
        true = RATIOS[[order[key.removeprefix("space:")] for key in table["subject"]]]
        errors = np.log(table["ratio"].to_numpy() / true)
        return float(np.sqrt(np.mean(errors**2))), known.specimens, summarize(known)


def test_two_specimens_give_labels_as_exact_as_one(tmp_path):
    alone, nothing, _ = labels_of(tmp_path / "one.db", {"a": 1.0})
    half = FACTOR**0.5
    pooled, specimens, summary = labels_of(tmp_path / "two.db", {"a": 1 / half, "b": half})
    assert nothing == {}
    assert pooled < 1.1 * alone
    assert specimens["b"] / specimens["a"] == pytest.approx(FACTOR, rel=0.005)
    assert any("between 2: a -2.4" in line for line in summary.lines())
    assert summary.to_dict()["specimens"] == specimens


def test_a_specimen_with_too_few_visits_is_not_said_to_be_like_the_others(tmp_path):
    with Store.open(tmp_path / "few.db", create=True) as store:
        store.add_target(TARGET, "r")
        for visit, name in enumerate("abc"):
            for number in range(4 if name == "c" else 12):
                made = measurement(f"n{number}", visit=visit, process=f"{name}/{visit}")
                ratio = 1.1 if name == "b" else 1.0
                conditions = {"specimen": name}
                store.add(dataclasses.replace(made, samples=samples(ratio), conditions=conditions))
        (line,) = [
            line for line in summarize(TargetLabels.of(store)).lines() if "specimens" in line
        ]
    assert line.split(maxsplit=1)[1].startswith(
        "10.00% between 2: a -4.65%, b +4.88%; unknown for c"
    )


def test_a_millisecond_is_that_of_all_specimens_alike(tmp_path):
    _, _, summary = labels_of(tmp_path / "two.db", {"a": 1.0, "b": 1.0}, slower=1.21)
    assert summary.reference_ms == pytest.approx(5.0 * 1.1, rel=0.001)
