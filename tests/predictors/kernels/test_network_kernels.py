"""Networks from their kernels: forests, physical sense, intervals, packs."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from latprof.datasets.zoo import build
from latprof.datasets.zoo.built_models import built_model, quantized_key, zoo_key
from latprof.errors import CoverageError, InvalidValueError, NotEnoughDataError, PackError
from latprof.graph.fusion_rules import FusionRules
from latprof.graph.reader import read_network
from latprof.measurement.records import Target
from latprof.predictors import load_pack
from latprof.predictors.kernels.configurations import NUMBERS, Configurations, configuration
from latprof.predictors.kernels.forests import Forest
from latprof.predictors.kernels.graph_kernels import kernels_of
from latprof.predictors.kernels.learning.kernel_agreement import KernelAgreement
from latprof.predictors.kernels.learning.kernel_fitting import fit_kernel_model, kernels_left_out
from latprof.predictors.kernels.learning.network_fitting import (
    KernelTable,
    PriorKernels,
    calibrate,
    correction_of,
    fit_kernels,
    fit_networks,
    leave_families_out,
)
from latprof.predictors.kernels.network_kernels import SummedKernels, score_quantile
from latprof.predictors.kernels.network_spread import NetworkDifficulty
from latprof.predictors.pack.kernel_answers import predict_from_kernels
from latprof.predictors.pack.kernel_pack import KernelPack, load_any_pack, save_kernel_pack
from latprof.predictors.pack.saving import read_facts

TARGET = Target("cpu", "a made-up processor", "onnxruntime", "1.0")
#: Milliseconds a multiply-accumulate, a value and a kernel of the made-up processor.
PER_MAC, PER_VALUE, PER_KERNEL = 1e-8, 2e-7, 2e-3


def true_ms(kernels: Configurations) -> np.ndarray:
    """What kernels take on a processor that is slower where channels are no multiple of 8."""
    slow = np.where(kernels.column("out_channels") % 8, 1.6, 1.0)
    moved = kernels.column("read") + kernels.column("written") + kernels.column("weights")
    return slow * PER_MAC * kernels.column("macs") + PER_VALUE * moved + PER_KERNEL


NAMES = ("mobilenet-v1", "mobilenet-v2", "mnasnet-b1", "squeezenet-1.1", "resnet-18", "fbnet-a")


def table_of(names: tuple[str, ...] = NAMES, widths: tuple[float, ...] = (0.75, 1.0)):
    """Networks of the zoo on the made-up processor; whole ones have 0.1 ms of their own."""
    parts, numbers, whole, labels = [], [], [], []
    for name in names:
        for width in widths:
            kernels = kernels_of(read_network(build(name, width=width, weights=False)), TARGET)
            numbers.append(np.full(len(kernels.configurations), len(parts)))
            parts.append(kernels.configurations)
            whole.append(1.05 * true_ms(kernels.configurations).sum() + 0.1)
            labels.append(name)
    joined = Configurations(
        np.concatenate([p.families for p in parts]), np.concatenate([p.numbers for p in parts])
    )
    return KernelTable(
        joined,
        true_ms(joined),
        np.concatenate(numbers),
        tuple(labels),
        tuple(labels),
        np.array(whole),
    )


@pytest.fixture(scope="module")
def table() -> KernelTable:
    return table_of()


@pytest.fixture(scope="module")
def pack(table: KernelTable) -> KernelPack:
    return KernelPack(fit_networks(table, trees=40).model, TARGET)


def convolutions(**columns: list[float]) -> Configurations:
    rows = [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    return Configurations.of(configuration("conv", **row) for row in rows)


def test_a_forest_answers_as_the_booster_that_it_was_made_of() -> None:
    xgboost = pytest.importorskip("xgboost")
    generator = np.random.default_rng(0)
    x = generator.normal(size=(300, 5)).astype(np.float32)
    data = xgboost.DMatrix(x, np.sin(3 * x[:, 0]) + x[:, 1] * x[:, 2])
    booster = xgboost.train({"max_depth": 4, "base_score": 0.0}, data, 20)

    forest = Forest.of_xgboost(booster.save_raw(raw_format="json"), 4)
    sums = forest.sums(x, np.zeros(len(x), dtype=np.int64), 20)

    assert np.allclose(sums, booster.inplace_predict(x), atol=5e-3)
    again = Forest.from_bytes(forest.to_bytes(), 5)
    assert np.array_equal(again.sums(x, np.zeros(300, dtype=np.int64), 20), sums)


@pytest.mark.parametrize("spoil", ["short", "long", "features", "empty"])
def test_trees_of_another_form_are_refused(spoil: str) -> None:
    forest = Forest(
        np.ones((2, 3), np.uint8), np.ones((2, 3), np.float32), np.ones((2, 4), np.float16)
    )
    content = forest.to_bytes()
    content = {"short": content[:-1], "long": content + b"x", "features": content, "empty": b""}[
        spoil
    ]
    with pytest.raises(PackError):
        Forest.from_bytes(content, 1 if spoil == "features" else 5)


def test_kernels_that_were_left_out_are_predicted(table: KernelTable) -> None:
    number = np.array(table.kernels.digests(), dtype=np.uint64) % 5
    held = number == 0
    model = fit_kernel_model(table.kernels.rows(~held), table.latency_ms[~held], trees=60)

    found = model.predict(table.kernels.rows(held))

    error = np.abs(found.latency_ms / table.latency_ms[held] - 1)
    assert np.median(error) < 0.08
    assert found.covered.mean() > 0.8


def test_nothing_is_faster_than_the_best_rate_that_was_seen(pack: KernelPack) -> None:
    generator = np.random.default_rng(1)
    rows = {
        name: generator.choice([1, 3, 8, 40, 300, 2000], 400).tolist()
        for name in ("in_channels", "out_channels", "out_height", "out_width", "kernel_height")
    }
    kernels = convolutions(**rows)
    macs = np.prod([kernels.column(name) for name in rows], axis=0)
    kernels.numbers[:, NUMBERS.index("macs")] = macs
    found = pack.model.kernels.predict(kernels)
    roofline = pack.model.kernels.roofline
    assert np.all(found.latency_ms >= roofline.per_mac * macs * (1 - 1e-12))


def test_half_of_the_rows_never_takes_longer(pack: KernelPack, table: KernelTable) -> None:
    rows = table.kernels.column("out_height") >= 1
    kernels = table.kernels.rows(rows)
    double = Configurations(kernels.families, kernels.numbers.copy())
    for name in ("height", "out_height", "read", "written", "macs"):
        double.numbers[:, NUMBERS.index(name)] *= 2
    # Of the trees alone: what was timed is answered as it was timed.
    model = dataclasses.replace(pack.model.kernels, seen={})
    twice, once = model.predict(double).latency_ms, model.predict(kernels).latency_ms
    assert np.mean(twice >= once * (1 - 1e-9)) > 0.99
    assert np.all(twice >= 0.9 * once)


def test_the_correction_of_sums_is_found(table: KernelTable) -> None:
    found = correction_of(table)
    assert found.scale == pytest.approx(1.05, rel=0.02)
    total = found.each(np.array([3.0, 2.0])).sum() + found.constant_ms
    assert total == pytest.approx(1.05 * 5 + 0.1, rel=0.05)


def test_intervals_of_families_left_out_hold(table: KernelTable) -> None:
    found = leave_families_out(table, trees=40, groups=6)
    fitted = fit_networks(table, trees=40)
    judged = [each for each in found if each is not None]
    assert len(judged) == len(fitted.measured_ms) == len(table.names)
    bounds = np.array([fitted.model.upper_ms(each, 0.95) for each in judged])
    assert np.mean(fitted.measured_ms <= bounds) >= 0.9
    assert np.mean(np.abs(fitted.measured_ms / fitted.predicted_ms - 1)) < 0.15


def of_one_ms(count: int) -> list[SummedKernels]:
    """Predictions that are all alike."""
    ones, difficulty = np.ones(1), NetworkDifficulty(0.05, 0.0)
    return [SummedKernels(1.0, 0.9, 1.1, 1.0, ones, ones > 0, ones, 0.0, difficulty)] * count


def test_a_family_of_many_networks_calibrates_as_one_of_a_single_network() -> None:
    random = np.random.default_rng(0)
    errors = np.r_[random.normal(0, 0.01, 90), random.normal(0, 0.1, 60)]
    families = ["many"] * 90 + [f"single {number}" for number in range(60)]
    spread, scores = calibrate(np.exp(errors), of_one_ms(150), families)
    expected = spread.of(NetworkDifficulty(0.05, 0.0))
    low, high = (expected * score_quantile(scores, share) for share in (0.05, 0.95))
    assert 0.86 <= np.mean((low <= errors[90:]) & (errors[90:] <= high)) <= 0.95
    assert np.all(np.diff(scores) >= 0)
    # Families of the same size count as their networks do.
    spread, scores = calibrate(np.exp(errors), of_one_ms(150), [str(n % 50) for n in range(150)])
    expected = spread.of(NetworkDifficulty(0.05, 0.0))
    np.testing.assert_allclose(scores, np.sort(errors) / expected)


def test_the_interval_widens_with_what_is_not_covered(pack: KernelPack) -> None:
    known = read_network(build("mobilenet-v2", weights=False))
    other = read_network(build("vgg-11", weights=False))
    inside = predict_from_kernels(pack, known, "known", upper=0.95)
    outside = predict_from_kernels(pack, other, "other")

    assert inside.coverage > 0.95 > outside.coverage
    assert not inside.is_guess
    assert outside.is_guess
    width = [(a.high_ms - a.low_ms) / a.latency_ms for a in (inside, outside)]
    assert width[0] < width[1]
    assert inside.upper_ms == pytest.approx(inside.high_ms)
    with pytest.raises(CoverageError):
        predict_from_kernels(pack, other, "other", strict=True)


def test_kernels_add_up_and_changes_save_time(pack: KernelPack) -> None:
    network = read_network(build("resnet-18", weights=False))
    answer = predict_from_kernels(pack, network, "m", advise=True)
    total = sum(op.latency_ms for op in answer.operators) + pack.model.constant_ms
    assert total == pytest.approx(answer.latency_ms)
    assert all(op.latency_ms >= op.floor_ms for op in answer.operators)
    assert "5x5" in [change.instead for change in answer.changes]
    assert all(change.saves_ms > 0 for change in answer.changes)


def test_a_pack_comes_back_as_it_was(pack: KernelPack, tmp_path: Path) -> None:
    path = tmp_path / "k.pack"
    save_kernel_pack(pack, path)
    again = load_any_pack(path)
    assert isinstance(again, KernelPack)
    network = read_network(build("mobilenet-v1", weights=False))
    one, other = (predict_from_kernels(p, network, "m") for p in (pack, again))
    assert other.latency_ms == pytest.approx(one.latency_ms, rel=1e-6)
    assert (other.low_ms, other.high_ms) == pytest.approx((one.low_ms, one.high_ms), rel=1e-3)
    with pytest.raises(PackError, match="pack of kernels"):
        load_pack(path)


def test_kernels_are_left_out_where_no_network_was_measured(
    table: KernelTable, pack: KernelPack, tmp_path: Path
) -> None:
    errors = kernels_left_out(table.kernels, table.latency_ms, trees=40)
    assert errors is not None
    # A fifth of the different kernels, each as often as it was timed.
    assert 0.1 * len(table.kernels) < errors.rows < 0.4 * len(table.kernels)
    assert 0.5 < errors.mape_percent < 15  # those that it was fitted to would be off by less
    fitted = fit_kernel_model(table.kernels, table.latency_ms, trees=40)
    seen = fitted.predict(table.kernels).latency_ms / table.latency_ms
    assert errors.mape_percent > 100 * np.mean(np.abs(seen - 1))
    few = np.arange(len(table.kernels)) < 10
    assert kernels_left_out(table.kernels.rows(few), table.latency_ms[few]) is None

    path = tmp_path / "k.pack"
    save_kernel_pack(dataclasses.replace(pack, kernel_metrics=errors), path)
    again = load_any_pack(path)
    assert isinstance(again, KernelPack)
    assert again.kernel_metrics == read_facts(path).kernel_metrics == errors
    assert "error of kernels left out" in repr(again)
    save_kernel_pack(pack, path)
    assert read_facts(path).kernel_metrics is None


def test_a_pack_keeps_how_its_runtime_fuses(pack: KernelPack, tmp_path: Path) -> None:
    rules = FusionRules({("Conv", "Relu"): False}, {"device": "cpu"}, frozenset({"Flatten"}))
    agreement = KernelAgreement(10, 9, 12, 2, 0.1, 11, 1)
    target = dataclasses.replace(TARGET, runtime="openvino")
    own = dataclasses.replace(pack, target=target, rules=rules, agreement=agreement)
    save_kernel_pack(own, tmp_path / "k.pack")
    again = load_any_pack(tmp_path / "k.pack")
    assert (again.rules, again.agreement) == (rules, agreement)
    network = read_network(build("squeezenet-1.1", weights=False))
    apart, fused = (
        predict_from_kernels(p, network, "m")
        for p in (again, dataclasses.replace(again, rules=None))
    )
    relus = [op for op in apart.operators if op.kind == "activation"]
    assert len(apart.operators) - len(fused.operators) == len(relus) > 0


def test_values_that_are_no_model_are_refused(pack: KernelPack) -> None:
    from latprof.common.checked_json import Fields, to_json
    from latprof.predictors.kernels.network_kernels import NetworkKernelModel

    values, trees = pack.model.to_files()
    plain = json.loads(to_json(values))
    for name, wrong in (
        ("trees", 10**9),
        ("families", {}),
        ("seen", [["x", 1.0]]),
        ("seen", [["1f", 1e9]]),
        ("constant_ms", -1.0),
        ("scores", ["a"]),
        ("features", []),
    ):
        with pytest.raises(PackError):
            NetworkKernelModel.from_files(Fields("m", plain | {name: wrong}), trees)


def test_too_few_kernels_and_times_that_are_none_are_refused(table: KernelTable) -> None:
    few = np.arange(len(table.latency_ms)) < 3
    with pytest.raises(NotEnoughDataError):
        fit_kernel_model(table.kernels.rows(few), table.latency_ms[few])
    with pytest.raises(InvalidValueError):
        fit_kernel_model(table.kernels, -table.latency_ms)


def test_kernels_in_bytes_that_no_training_had_are_a_wide_guess(pack: KernelPack) -> None:
    network = read_network(built_model(quantized_key(zoo_key("mobilenet-v1", width=0.5), "qdq")))
    plain = read_network(built_model(zoo_key("mobilenet-v1", width=0.5)))
    answer, known = (predict_from_kernels(pack, each, "m") for each in (network, plain))
    assert answer.coverage < 0.2
    assert known.coverage > 0.9
    assert answer.is_guess
    assert answer.high_ms > 5 * answer.latency_ms > 25 * answer.low_ms
    assert known.high_ms < 3 * known.latency_ms


def test_kernels_of_another_data_set_teach_and_calibrate_nothing(table: KernelTable) -> None:
    own, other = table_of(NAMES[:4]), table_of(NAMES[4:])
    both = own.taught_by(other)
    assert len(both.kernels) == len(own.kernels) + len(other.kernels)
    found = leave_families_out(both, trees=20)
    assert [each is not None for each in found] == [True] * 8 + [False] * 4
    assert both.names[both.network[-1]] == NAMES[-1]
    without = fit_networks(own, trees=20).model.kernels
    assert len(fit_networks(both, trees=20).model.kernels.seen) > len(without.seen)


def slower(table: KernelTable) -> KernelTable:
    """The same networks on a processor that takes 3 times as long, 6 times for depthwise ones."""
    return times_as_long(table, np.where(table.kernels.families == "depthwise", 6.0, 3.0))


def dear_windows(table: KernelTable) -> KernelTable:
    """The same where kernels of 5 x 5 take 4 times as long."""
    return times_as_long(table, np.where(table.kernels.column("kernel_height") == 5, 4.0, 1.0))


def times_as_long(table: KernelTable, factor: np.ndarray) -> KernelTable:
    latency_ms = factor * table.latency_ms
    whole = np.bincount(table.network, latency_ms)
    return dataclasses.replace(table, latency_ms=latency_ms, network_ms=whole)


@pytest.fixture(scope="module")
def few(table: KernelTable) -> KernelTable:
    """Two networks of the slower processor."""
    return slower(table_of(("mobilenet-v2", "squeezenet-1.1"), (1.0,)))


def test_kernels_of_another_target_tell_of_shapes_that_few_of_ones_own_lack(
    table: KernelTable, few: KernelTable
) -> None:
    asked = dear_windows(slower(table_of(("mnasnet-b1",), (1.0,))))
    asked = asked.rows(asked.kernels.column("kernel_height") == 5)
    own = few
    assert not np.any(own.kernels.column("kernel_height") == 5)
    errors = [
        np.mean(np.abs(model.kernels.predict(asked.kernels).latency_ms / asked.latency_ms - 1))
        for model in (
            fit_kernels(own, trees=40),
            fit_kernels(
                dataclasses.replace(own, prior=PriorKernels(dear_windows(table))), trees=40
            ),
        )
    ]
    assert errors[0] > 0.7
    assert errors[1] < 0.4


def test_families_that_are_left_out_are_left_out_of_the_prior_too(table: KernelTable) -> None:
    dear = dear_windows(table)
    own = dataclasses.replace(slower(dear), prior=PriorKernels(dear))
    large = dear.kernels.column("kernel_height") == 5
    families = {dear.names[number] for number in dear.network[large]}
    whole, without = (
        fit_kernels(own, without=left_out, trees=20).kernels.prior for left_out in ((), families)
    )
    assert whole is not None
    assert without is not None
    right, wrong = (
        np.mean(np.abs(model.predict(dear.kernels.rows(large)).latency_ms / dear.latency_ms[large]))
        for model in (whole, without)
    )
    assert right == pytest.approx(1, abs=0.1)
    assert wrong < 0.5
    # As they are where a pack is judged: else the prior would know each network that is asked.
    asked = {
        name: fit_kernels(
            own,
            ~np.isin(own.network, [number for number, n in enumerate(own.names) if n == name]),
            np.array([each == name for each in own.names]),
            without=[name],
            trees=20,
        )
        for name in dict.fromkeys(own.names)
    }
    found = leave_families_out(own, trees=20, groups=len(asked))
    for number, name in enumerate(own.names):
        expected = asked[name].predict(own.of_network(number)).latency_ms
        judged = found[number]
        assert judged is not None
        assert judged.latency_ms == pytest.approx(expected)


def test_a_pack_with_a_prior_comes_back_as_it_was(
    table: KernelTable, few: KernelTable, pack: KernelPack, tmp_path: Path
) -> None:
    path = tmp_path / "k.pack"
    model = fit_networks(dataclasses.replace(few, prior=PriorKernels(table)), trees=20).model
    save_kernel_pack(dataclasses.replace(pack, model=model), path)
    again = load_any_pack(path)
    assert isinstance(again, KernelPack)
    assert again.model.kernels.prior is not None
    before, after = (
        each.kernels.predict(table.kernels).latency_ms for each in (model, again.model)
    )
    np.testing.assert_allclose(after, before, rtol=1e-3)
    # A latprof that knows no priors would take the trees for those of milliseconds.
    assert _format_of(path) == 4
    save_kernel_pack(pack, path)
    assert _format_of(path) == 3


def _format_of(path: Path) -> int:
    with zipfile.ZipFile(path) as archive:
        version: int = json.loads(archive.read("manifest.json"))["format_version"]
    return version
