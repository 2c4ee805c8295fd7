"""The other collections: in milliseconds, with what failed counted, and clear errors."""

import gzip
import json
import pickle

import numpy as np
import pytest
from formats import all_cells, cell, public, write_csv, write_help, write_json, write_latency
from text_formats import E2E, FEATURE, HAT, HAT_ROW, OPERATORS, macro, small_files

from latprof.datasets.importers.accuracies import load_nasbench201_accuracies, load_nasbench_macro
from latprof.datasets.importers.collections.hat import load_hat
from latprof.datasets.importers.collections.help import load_help
from latprof.datasets.importers.collections.hw_nas_bench import (
    fbnet_keys,
    hw_nas_bench_columns,
    load_hw_nas_bench,
    load_hw_nas_bench_table,
)
from latprof.datasets.importers.collections.mobile_ml import (
    load_mobile_ml,
    load_mobile_ml_operators,
    mobile_ml_columns,
)
from latprof.datasets.importers.collections.tinynas import load_tinynas
from latprof.errors import DataSetError, UnknownNameError

# mobile-ml-benchmark -----------------------------------------------------------------------


def test_networks_end_to_end_are_in_milliseconds(tmp_path):
    path = write_csv(
        tmp_path / "e2e.csv",
        E2E,
        [["resnet10", 1, 2, "1500.0", "12"], ["dla46c", 1, 2, "90.5", "0"]],
    )
    assert mobile_ml_columns(path) == ["pixel4|1large|float"]
    found = load_mobile_ml(path, "pixel4|1large|float")
    assert found.latency_ms.tolist() == [1.5, 0.0905]
    assert found.spread_ms.tolist() == [0.012, 0.0]
    assert found.architectures == ("resnet10", "dla46c")
    assert found.batch_size is None
    assert found.to_frame()["spread_ms"].tolist() == [0.012, 0.0]


def test_a_network_without_a_time_is_not_usable(tmp_path):
    path = write_csv(tmp_path / "e2e.csv", E2E, [["a", 1, 2, "", ""], ["b", 1, 2, "90", "1"]])
    assert load_mobile_ml(path, "pixel4|1large|float").usable.tolist() == [False, True]


def test_operators_with_their_features_and_kernels(tmp_path):
    rows = [["net", "CONV_2D", FEATURE, "320.4", "convolution_2d_0"]]
    found = load_mobile_ml_operators(write_csv(tmp_path / "ops.csv", OPERATORS, rows))
    assert found.latency_ms == pytest.approx([0.3204])
    assert found.features == (
        {"Input_shape": 224, "Input_channel": 3, "Stride": None, "Kernel": 1},
    )
    frame = found.to_frame()
    assert frame.loc[0, "kernel"] == "convolution_2d_0"
    assert frame.loc[0, "Input_channel"] == 3


@pytest.mark.parametrize(
    "feature",
    [
        "",
        "{}",
        "[1]",
        "__import__('os').system('true')",
        "{'a': __import__('os')}",
        "{'a': '1'",
        "{'a': '1'} + 1",
        "{'a': [[[[1]]]]}",
        "(" * 10_000,
        "{" + "'a': 1, " * 1000 + "}",
        "{'a': '" + "9" * 5000 + "'}",
    ],
)
def test_features_that_are_none_are_refused_and_not_run(tmp_path, feature):
    path = write_csv(tmp_path / "ops.csv", OPERATORS, [["net", "CONV_2D", feature, "1", "k"]])
    with pytest.raises(DataSetError, match=r"ops.csv, row 2"):
        load_mobile_ml_operators(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("a,b\n1,2\n", "no column 'model'"),
        ("model,model\n1,2\n", "two columns of one name"),
        (",".join(E2E) + "\n", "no rows"),
        (",".join(E2E) + "\na,1\n", "line 2: wrong number of fields"),
        (",".join(E2E) + "\na,1,2,fast,3\n", "row 2.*no time.*'fast'"),
        (",".join(E2E) + "\na,1,2,-5,3\n", "no time"),
        (",".join(E2E) + "\na,1,2,0,3\n", "holds no latency"),
        (",".join(E2E) + '\na,1,2,"1\n', "not CSV"),
        ("\x00\xff\n", "not text|no column"),
    ],
)
def test_malformed_tables(tmp_path, content, words):
    path = tmp_path / "e2e.csv"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(DataSetError, match=words) as caught:
        load_mobile_ml(path, "pixel4|1large|float")
    assert "e2e.csv" in str(caught.value)


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_other_separators_line_ends_orders_and_blank_lines(tmp_path, separator, end):
    header = ["number", *reversed(E2E)]
    values = dict(zip(E2E, ["resnet10", "1", "2", "1500.0", "12"], strict=True))
    row = ["7", *(values[name] for name in reversed(E2E))]
    blank = separator * (len(header) - 1)
    path = tmp_path / "e2e.csv"
    lines = [separator.join(header), "", separator.join(row), blank, "  ", ""]
    path.write_bytes(end.join(lines).encode("utf-8-sig"))
    found = load_mobile_ml(path, "pixel4|1large|float")
    assert (found.latency_ms.tolist(), found.spread_ms.tolist()) == ([1.5], [0.012])
    assert found.architectures == ("resnet10",)


def test_an_unknown_column_is_told_with_the_known_ones(tmp_path):
    path = write_csv(tmp_path / "e2e.csv", E2E, [["a", 1, 2, 3, 4]])
    with pytest.raises(UnknownNameError, match="pixel4"):
        load_mobile_ml(path, "pixel4|2large|float")


def test_the_real_mobile_ml_benchmark():
    path = public("mobile-ml-benchmark", "tflite_cnn_e2e.csv")
    assert len(mobile_ml_columns(path)) == 36
    gpu = load_mobile_ml(path, "pixel4|gpu|float")
    assert len(gpu.architectures) == 79
    operators = load_mobile_ml_operators(path.with_name("tflite_cnn_ops_gpu.csv"))
    assert len(operators.models) == 4361
    # Kernel times add up to about the network's: the unit is the same.
    frame = operators.to_frame().groupby("model")["latency_ms"].sum()
    ratio = frame.loc[list(gpu.architectures)].to_numpy() / gpu.latency_ms
    assert 0.8 < np.median(ratio) < 1.1


# TinyNAS -----------------------------------------------------------------------------------


def test_convolutions_that_failed_are_counted_and_left_out(tmp_path):
    path = tmp_path / "conv.out"
    path.write_text(
        "{Regular,128,3,480,480,192,7,2,1} 30.9881\n{Depthwise,1,8,5,5,8,3,1,0} 1.5e-02\n\n"
        "{Regular,128,3,480,480,160,7,2,1} -1\n"
    )
    found = load_tinynas(path)
    assert found.failed == 1
    assert found.kinds == ("Regular", "Depthwise")
    assert found.shapes.tolist() == [[128, 3, 480, 480, 192, 7, 2, 1], [1, 8, 5, 5, 8, 3, 1, 0]]
    assert found.latency_ms.tolist() == [30.9881, 0.015]
    assert found.to_frame().loc[1, "out_channels"] == 8


@pytest.mark.parametrize(
    "line",
    [
        "{Regular,128,3,480,480,192,7,2} 30.9",
        "{Regular,128,3,480,480,192,7,2,1} 0",
        "{Regular,128,3,480,480,192,7,2,1} -2",
        "{Regular,128,3,480,480,192,7,2,1} nan",
        "{Regular,128,3,480,480,192,7,2,1} 1e999",
        "{Regular,128,3,480,480,192,7,2,1} 1e13",
        "{Regular,128,3,480,480,192,7,2,1}",
        "{Winograd,128,3,480,480,192,7,2,1} 3",
        "{Regular,128,3,480,480,192,7,2,99999999999} 3",
        "{Regular,128,3,480,480,192,7,2,1} 1.2.3",
        "text",
    ],
)
def test_another_line_is_named(tmp_path, line):
    path = tmp_path / "conv.out"
    path.write_text("{Regular,1,8,5,5,8,1,1,0} 0.01\n" + line + "\n")
    with pytest.raises(DataSetError, match=r"conv.out, line 2"):
        load_tinynas(path)


def test_only_failures_are_no_table(tmp_path):
    path = tmp_path / "conv.out"
    path.write_text("{Regular,1,8,5,5,8,1,1,0} -1\n")
    with pytest.raises(DataSetError, match="no convolution with a time"):
        load_tinynas(path)


def test_the_real_tinynas_table():
    found = load_tinynas(public("tinynas-v100", "conv_fp32.out"))
    assert (len(found.latency_ms), found.failed) == (95_256, 5_984)
    assert set(found.kinds) == {"Regular", "Depthwise"}


# HAT ---------------------------------------------------------------------------------------


def test_the_parts_of_a_transformer(tmp_path):
    path = write_csv(tmp_path / "xeon.csv", HAT, [HAT_ROW])
    parts = {part: load_hat(path, part) for part in ("encoder", "decoder", "total")}
    assert parts["encoder"].latency_ms.tolist() == [9.9]
    assert parts["decoder"].spread_ms.tolist() == [12.7]
    assert parts["total"].latency_ms.tolist() == [9.9 + 236.7]
    assert parts["total"].spread_ms is None
    assert parts["total"].features.tolist() == [HAT_ROW[:10]]
    assert parts["total"].to_frame().loc[0, "encoder_layer_num"] == 6
    assert parts["total"].device == "xeon"
    with pytest.raises(UnknownNameError):
        load_hat(path, "all")


@pytest.mark.parametrize("value", ["", "-1", "nan", "x"])
def test_a_transformer_with_a_number_that_is_none(tmp_path, value):
    path = write_csv(tmp_path / "xeon.csv", HAT, [HAT_ROW, [*HAT_ROW[:-1], value]])
    with pytest.raises(DataSetError, match=r"xeon.csv, row 3: latency_std_decoder"):
        load_hat(path)


def test_the_real_hat_file():
    found = load_hat(public("hat", "wmt14ende_cpu_xeon_all.csv"))
    assert found.features.shape == (2000, 10)
    assert found.usable.all()


# Accuracies --------------------------------------------------------------------------------


def test_accuracies_come_in_the_order_of_the_index(tmp_path):
    cells = [[0, 1, 2, 3, 4, 0], [3] * 6, [1, 2, 3, 4, 0, 1]]
    rows = [[index, cell(cells[index]), 50 + index, 60.5] for index in (2, 0, 1)]
    path = write_csv(
        tmp_path / "accuracy.csv", ["index", "architecture", "cifar10-test", "imagenet-val"], rows
    )
    found = load_nasbench201_accuracies(path)
    assert found.choices.tolist() == cells
    assert found.accuracy_percent["cifar10-test"].tolist() == [50, 51, 52]
    assert found.to_frame()["imagenet-val"].tolist() == [60.5] * 3


@pytest.mark.parametrize(
    "row",
    [
        ["1", cell([0] * 6), 5],
        ["0", "|none~0|", 5],
        ["0", cell([0] * 6), 101],
        ["x", cell([0] * 6), 5],
    ],
)
def test_malformed_accuracies(tmp_path, row):
    path = write_csv(tmp_path / "accuracy.csv", ["index", "architecture", "cifar10-test"], [row])
    with pytest.raises(DataSetError, match=r"accuracy\.csv"):
        load_nasbench201_accuracies(path)


def test_networks_of_nasbench_macro_by_their_key(tmp_path):
    content = {"02112000": macro(), "00000001": macro(mean_acc=70.5, params=9)}
    found = load_nasbench_macro(write_json(tmp_path / "macro.json", content))
    assert found.choices.tolist() == [[0, 0, 0, 0, 0, 0, 0, 1], [0, 2, 1, 1, 2, 0, 0, 0]]
    assert found.accuracy_percent["cifar10-test"].tolist() == [70.5, 81.0]
    assert found.parameters.tolist() == [9, 5]
    assert found.flops.tolist() == [7, 7]
    assert found.runs_percent.shape == (2, 3)
    assert found.to_frame()["parameters"].tolist() == [9, 5]


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "{}",
        "[" * 100_000,
        json.dumps({"0211200": macro()}),
        json.dumps({"02112003": macro()}),
        json.dumps({"02112000": macro(params=None)}),
        json.dumps({"02112000": macro(mean_acc="high")}),
        json.dumps({"02112000": macro(mean_acc=181.0)}),
        json.dumps({"02112000": macro(test_acc=[1.0]), "02112001": macro()}),
        json.dumps({"02112000": 5}),
        '{"02112000": ' + json.dumps(macro(mean_acc=float("nan"))) + "}",
    ],
)
def test_malformed_macro_files(tmp_path, content):
    path = tmp_path / "macro.json"
    path.write_text(content)
    with pytest.raises(DataSetError, match=r"macro\.json"):
        load_nasbench_macro(path)


def test_the_real_accuracies_are_in_the_order_of_helps_rows():
    found = load_nasbench201_accuracies(public("nasbench201-accuracy", "accuracy.csv"))
    assert len(found.accuracy_percent) == 6
    help_choices = load_help(public("help"), "nasbench201", "pixel2").choices
    assert (found.choices == help_choices).all()


def test_the_real_nasbench_macro():
    found = load_nasbench_macro(public("nasbench-macro", "nas-bench-macro_cifar10.json"))
    assert len(found.names) == 6561
    best = found.accuracy_percent["cifar10-test"].max()
    assert best == pytest.approx(93.13, abs=0.005)
    assert found.accuracy_percent["cifar10-test"][found.names.index("22212220")] == best
    ones = found.names.index("11111111")
    assert (found.parameters[ones], found.flops[ones]) == (1_588_874, 53_246_464)


# HW-NAS-Bench ------------------------------------------------------------------------------


def hardware(n=300):
    generator = np.random.default_rng(5)
    cells = all_cells()[generator.permutation(5**6)[:n]]
    latency = generator.uniform(5, 20, n)
    latency[:3] = 0.01
    table = {
        "edgegpu_latency": list(latency),  # NumPy's numbers
        "raspi4_latency": latency,  # an array
        "eyeriss_latency": latency.tolist(),
        "fpga_energy": latency.tolist(),
        "config": [{"name": "infer.tiny", "C": 16, "arch_str": cell(row)} for row in cells],
    }
    by_key = dict.fromkeys(
        key
        for dataset in ("cifar100", "ImageNet")
        for choice in range(9)
        for key in fbnet_keys([choice] * 22, dataset)
    )
    costs = {key: float(generator.uniform(0.1, 1)) for key in by_key}
    content = {
        "nasbench201": {"cifar10": table, "cifar100": table},
        "fbnet": {"pixel3_latency": costs, "fpga_energy": costs},
    }
    return content, cells, latency, costs


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_hw_nas_bench_of_the_authors_layout(tmp_path, protocol):
    content, cells, latency, costs = hardware()
    path = tmp_path / "HW-NAS-Bench-v1_0.pickle"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    assert hw_nas_bench_columns(path) == {
        "cifar10": ["edgegpu", "eyeriss", "raspi4"],
        "cifar100": ["edgegpu", "eyeriss", "raspi4"],
        "fbnet": ["pixel3"],
    }
    for device in ("edgegpu", "raspi4", "eyeriss"):
        found = load_hw_nas_bench(path, device, "cifar100")
        assert (found.choices == cells).all()
        assert (found.latency_ms == latency).all()
        assert np.flatnonzero(~found.usable).tolist() == [0, 1, 2]
        assert found.batch_size is None
    table = load_hw_nas_bench_table(path, "pixel3")
    keys = fbnet_keys([3] * 21 + [8], "cifar100")
    assert table.total_ms(keys) == pytest.approx(sum(costs[key] for key in keys))


def test_the_keys_of_an_fbnet_architecture():
    keys = fbnet_keys([0] + [7] * 20 + [8])
    assert len(keys) == 22 + 4
    assert keys[0] == "ConvNorm_H224_W224_Cin3_Cout16_kernel3_stride2_group1"
    assert keys[1] == "ConvBlock_H112_W112_Cin16_Cout16_exp1_kernel3_stride1_group1"
    assert keys[2] == "ConvBlock_H112_W112_Cin16_Cout24_exp6_kernel5_stride2_group1"
    assert keys[-4] == "Skip_H7_W7_Cin184_Cout352_stride1"
    assert keys[-3:] == (
        "ConvNorm_H7_W7_Cin352_Cout1984_kernel1_stride1_group1",
        "AvgP_H7_W7_Cin1984_Cout1984_kernel7_stride1",
        "FC_Cin1984_Cout1000",
    )
    with pytest.raises(UnknownNameError):
        fbnet_keys([0] * 22, "mnist")


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"nasbench201": []},
        {"nasbench201": {"cifar10": []}},
        {"nasbench201": {"cifar10": {"config": []}}},
        {"nasbench201": {"cifar10": {"edgegpu_latency": [1.0], "config": []}}},
        {"nasbench201": {"cifar10": {"edgegpu_latency": [1.0], "config": [{}]}}},
        {"nasbench201": {"cifar10": {"edgegpu_latency": [1.0], "config": [5]}}},
        {
            "nasbench201": {
                "cifar10": {"edgegpu_latency": ["x"], "config": [{"arch_str": cell([0] * 6)}]}
            }
        },
        {
            "nasbench201": {
                "cifar10": {"edgegpu_latency": [], "config": [{"arch_str": cell([0] * 6)}]}
            }
        },
    ],
)
def test_another_layout_of_hw_nas_bench(tmp_path, content):
    path = tmp_path / "HW-NAS-Bench-v1_0.pickle"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(DataSetError, match="HW-NAS-Bench-v1_0"):
        load_hw_nas_bench(path, "edgegpu")


def test_what_hw_nas_bench_does_not_have(tmp_path):
    path = tmp_path / "HW-NAS-Bench-v1_0.pickle"
    path.write_bytes(pickle.dumps(hardware(30)[0]))
    with pytest.raises(UnknownNameError, match="edgegpu"):
        load_hw_nas_bench(path, "edgetpu")
    with pytest.raises(UnknownNameError, match="cifar100"):
        load_hw_nas_bench(path, "edgegpu", "mnist")
    with pytest.raises(UnknownNameError, match="pixel3"):
        load_hw_nas_bench_table(path, "edgegpu")


@pytest.mark.parametrize("line", ["\n", "a\n", ",", "[]", "{}", "a:\n", "1,2\n", '"'])
def test_large_files_of_nothing_are_refused(tmp_path, line):
    for path, load in small_files(tmp_path):
        path.write_text(line * ((4 << 20) // len(line)))
        with pytest.raises((DataSetError, UnknownNameError)):
            load(path)


def test_a_compressed_file_is_said_to_be_one(tmp_path):
    for path, load in small_files(tmp_path):
        path.write_bytes(gzip.compress(b"a,b\n1,2\n"))
        with pytest.raises(DataSetError, match=r"is compressed.*unpack it first"):
            load(path)


def test_a_cut_file_is_refused(tmp_path):
    write_help(tmp_path, n=20)
    path = write_latency(tmp_path, "fbnet", "phone", [1.0] * 20)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataSetError, match=r"phone\.pt"):
        load_help(tmp_path, "fbnet", "phone")
