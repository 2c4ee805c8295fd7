"""Tables of Once-for-All's MobileNetV3: read as its code reads them, and written for it."""

import itertools

import numpy as np
import pytest
import yaml

from latprof.datasets.importers.lookup_tables import LookupTable, TableEntry, read_yaml_table
from latprof.datasets.importers.table_export import (
    missing_keys,
    needed_keys,
    proxyless_table,
    sharing_error_ms,
    to_yaml,
)
from latprof.datasets.spaces.named import get_space
from latprof.datasets.spaces.ofa_mobilenetv3 import OFAMobileNetV3Space
from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import CoverageError, InvalidValueError
from latprof.predictors.models.lookup_table_predictor import LookupTablePredictor
from latprof.predictors.training.imported_table import predictor_from_table

#: Width 1.2, as the network that its tables of a Note 10 are for; two of its resolutions.
SPACE = OFAMobileNetV3Space(width_multiplier=1.2, resolutions=(160, 176))
STEM, FIRST, EXPANDED, FEATURES = 24, 24, 1152, 1536
#: Width, first stride, squeeze-and-excitation and hard swish of the stages, at that width.
STAGES = ((32, 2, 0, 0), (48, 2, 1, 0), (96, 2, 0, 1), (136, 1, 1, 1), (192, 2, 1, 1))


def rounded(channels):
    """Their ``make_divisible`` by 8."""
    new = max(8, int(channels + 4) // 8 * 8)
    return new + 8 if new < 0.9 * channels else new


def their_keys(choices):
    """The keys of one network's entries, written again from what their code asks for."""
    size = (160, 176)[choices[0]]
    out = (size + 1) // 2
    keys = [f"Conv-input:{size}x{size}x3-output:{out}x{out}x{STEM}"]

    def block(size, channels, width, stride, middle, kernel, se, hs):
        out = (size - 1) // stride + 1
        skip = int(stride == 1 and channels == width)
        keys.append(
            f"expanded_conv-input:{size}x{size}x{channels}-output:{out}x{out}x{width}"
            f"-expand:{middle}-kernel:{kernel}-stride:{stride}-idskip:{skip}-se:{se}-hs:{hs}"
        )
        return out, width

    size, channels = block(out, STEM, FIRST, 1, STEM, 3, 0, 0)
    for stage, (width, first_stride, se, hs) in enumerate(STAGES):
        for index in range(2 + choices[1 + stage]):
            layer = 4 * stage + index
            kernel, expansion = (3, 5, 7)[choices[6 + layer]], (3, 4, 6)[choices[26 + layer]]
            middle = rounded(round(channels * expansion))
            stride = first_stride if index == 0 else 1
            size, channels = block(size, channels, width, stride, middle, kernel, se, hs)
    keys += [
        f"Conv_1-input:{size}x{size}x{channels}-output:{size}x{size}x{EXPANDED}",
        f"AvgPool2D-input:{size}x{size}x{EXPANDED}-output:1x1x{EXPANDED}",
        f"Conv_2-input:1x1x{EXPANDED}-output:1x1x{FEATURES}",
        f"Logits-input:1x1x{FEATURES}-output:1000",
    ]
    return keys


def made_up(keys, seed=0):
    """A table of these keys, each with a latency of its own."""
    latencies = np.random.default_rng(seed).uniform(0.1, 2.0, len(keys))
    rows = zip(keys, latencies, strict=True)
    return LookupTable("note10", {key: TableEntry(float(ms), 10) for key, ms in rows})


def test_our_keys_are_the_ones_that_their_code_asks_for():
    asked = {key for row in SPACE.sample_choices(300, seed=1) for key in their_keys(row)}

    assert asked <= set(needed_keys(SPACE))
    small, large, deep, shallow = (SPACE.num_choices * 0 for _ in range(4))
    large[6:], deep[1:6], shallow[0] = 2, 2, 1
    for row in (small, large, deep, shallow):
        assert set(their_keys(row)) <= set(needed_keys(SPACE))


def test_a_table_of_theirs_predicts_what_their_code_adds_up():
    table = made_up(needed_keys(SPACE))
    predictor = predictor_from_table(table, SPACE)
    choices = SPACE.sample_choices(100, seed=2)

    theirs = [table.total_ms(their_keys(row)) for row in choices]
    np.testing.assert_allclose(predictor.predict(choices), theirs, rtol=1e-12)


@pytest.fixture(scope="module")
def fitted():
    """A table fitted to latencies that are sums over the positions' blocks."""
    table = made_up(needed_keys(SPACE), seed=3)
    choices = SPACE.sample_choices(3000, seed=4)
    return LookupTablePredictor(SPACE).fit(
        choices, predictor_from_table(table, SPACE).predict(choices)
    )


def test_what_we_write_their_code_finds_and_it_adds_up_to_the_prediction(fitted, tmp_path):
    table = proxyless_table(fitted)
    path = tmp_path / "table.yaml"
    path.write_text(to_yaml(table))
    theirs = yaml.safe_load(path.read_text())
    choices = SPACE.sample_choices(60, seed=5)
    sums = np.array([sum(theirs[key]["mean"] for key in their_keys(row)) for row in choices])

    assert missing_keys(SPACE, table) == []
    assert not [key for key in table.entries if "activation" in key]
    stated = sharing_error_ms(fitted, table, n=60, seed=5)
    np.testing.assert_allclose(sums - fitted.predict(choices), stated, atol=1e-6)
    assert np.sqrt(np.mean(stated**2)) < 0.05 * fitted.predict(choices).mean()
    again = predictor_from_table(read_yaml_table(path), SPACE)
    np.testing.assert_allclose(again.predict(choices), sums, rtol=1e-9)


def test_a_table_that_does_not_fit_says_what_differs():
    table = made_up(needed_keys(OFAMobileNetV3Space(resolutions=(160,))))

    with pytest.raises(CoverageError, match=r"no entry for \d+ of the \d+ keys") as caught:
        predictor_from_table(table, OFAMobileNetV3Space(resolutions=(192,)))
    assert "Conv-input:160x160x3" in str(caught.value.hint)
    assert "192x192x3" in str(caught.value.hint)
    with pytest.raises(CoverageError) as caught:
        predictor_from_table(table, ProxylessSpace())
    assert "ofa-mobilenetv3" in str(caught.value.hint)
    with pytest.raises(InvalidValueError, match="no keys for this search space") as refused:
        predictor_from_table(table, get_space("fbnet"))
    assert "ofa-mobilenetv3" in str(refused.value.expected)


def test_a_table_with_one_entry_less_names_it():
    needed = needed_keys(SPACE)
    table = made_up(list(itertools.islice(needed, len(needed) - 1)))

    with pytest.raises(CoverageError) as caught:
        predictor_from_table(table, SPACE)
    assert caught.value.missing == (needed[-1],)


def test_every_entry_of_two_resolutions_is_there_once():
    needed = needed_keys(SPACE)

    assert len(needed) == len(set(needed))
    assert sum(key.startswith("Conv-") for key in needed) == 2
    assert sum(key.startswith("Logits-") for key in needed) == 1
