"""Kernels that were measured after training: answered with their own times, and covered."""

import dataclasses
import json

import numpy as np
import pytest

from latprof.common.checked_json import Fields, to_json
from latprof.errors import PackError
from latprof.predictors.kernels.configurations import Configurations, configuration
from latprof.predictors.kernels.kernel_model import KernelModel, model_files, model_of_files
from latprof.predictors.kernels.learning.kernel_fitting import fit_kernel_model
from latprof.predictors.kernels.refined_model import refined_model


def kernels(family: str, widths, slow: float = 1.0):
    """Pointwise kernels of these widths, and what they take."""
    rows, times = [], []
    for width in widths:
        work = {"read": 64.0 * width, "written": 64.0 * width, "macs": 4096.0 * width}
        rows.append(configuration(family, width=width, out_width=width, **work))
        times.append(slow * (0.002 + 1e-5 * width))
    return Configurations.of(rows), np.array(times)


@pytest.fixture(scope="module")
def model() -> KernelModel:
    seen, times = kernels("conv", range(10, 50))
    return fit_kernel_model(seen, times, trees=30)


def test_a_measured_kernel_takes_its_own_time_and_is_covered(model):
    asked, times = kernels("conv", [400, 800, 1600])
    before = model.predict(asked)
    assert not before.covered.any()

    found = refined_model(model, asked, times).predict(asked)

    assert found.covered.all()
    assert (
        np.abs(np.log(found.latency_ms / times)).max()
        < 0.25 * np.abs(np.log(before.latency_ms / times)).max() + 0.05
    )
    assert (found.error < before.error).all()


def test_several_timings_of_one_kernel_count_as_their_mean(model):
    asked, times = kernels("conv", [400] * 8)
    spread = times * np.exp([0.2, -0.2] * 4)
    (found,) = set(refined_model(model, asked, spread).predict(asked).latency_ms.tolist())
    assert found == pytest.approx(times[0], rel=0.05)


def test_a_family_that_training_never_saw_gets_a_level_and_a_range(model):
    measured, times = kernels("other", [10, 14, 20, 28, 40], slow=5.0)
    asked, true = kernels("other", [17, 33, 4000], slow=5.0)
    before = model.predict(asked).latency_ms

    grown = refined_model(model, measured, times)
    found = grown.predict(asked)

    assert "other" in grown.families
    assert found.covered.tolist() == [True, True, False]
    assert (
        np.abs(np.log(found.latency_ms / true))[:2].max() < np.abs(np.log(before / true))[:2].min()
    )


def test_few_kernels_of_a_family_tell_of_themselves_only(model):
    measured, times = kernels("other", [10, 14], slow=5.0)
    assert "other" not in refined_model(model, measured, times).families


def test_what_was_known_before_stays(model):
    asked, _ = kernels("conv", range(10, 50))
    measured, times = kernels("conv", [400])
    grown = refined_model(model, measured, times)
    assert np.array_equal(grown.predict(asked).latency_ms, model.predict(asked).latency_ms)
    assert np.array_equal(grown.predict(asked).error, model.predict(asked).error)


def test_it_is_kept_in_a_file_and_a_damaged_file_is_refused(model):
    measured, times = kernels("conv", [400, 800])
    grown = refined_model(model, measured, times)
    values, trees = model_files(grown)
    read = json.loads(to_json(values))

    again = model_of_files(Fields.of_json("a model", json.dumps(read).encode()), trees)

    assert again.measured == grown.measured
    assert np.allclose(again.predict(measured).latency_ms, grown.predict(measured).latency_ms)
    for wrong in (["zz"], ["0" * 16], 3):
        spoiled = json.dumps(read | {"measured": wrong}).encode()
        with pytest.raises(PackError):
            model_of_files(Fields.of_json("a model", spoiled), trees)


def test_a_model_without_measured_kernels_has_the_files_that_it_had(model):
    assert "measured" not in model_files(model)[0]
    assert dataclasses.replace(model).measured == frozenset()
