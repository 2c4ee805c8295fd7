"""The zoo: every network has the costs that are published, and is a model that runtimes run."""

import pytest

from latprof.datasets import zoo

#: Relative size of a unit in the last place of a figure such as ``5.1M``.
UNITS = {"K": 1e3, "M": 1e6, "B": 1e9}


@pytest.mark.parametrize("name", zoo.names())
def test_parameters_and_macs_are_those_of_the_source(name):
    facts = zoo.facts(name)
    assert zoo.counts(name) == (facts.parameters, facts.macs)
    theirs = (facts.parameters, facts.macs + facts.besides)
    for built, published in zip(theirs, facts.published, strict=True):
        if published:
            digits, unit = published[:-1], UNITS[published[-1]]
            last_place = unit / 10 ** len(digits.partition(".")[2])
            assert abs(built - float(digits) * unit) < last_place
