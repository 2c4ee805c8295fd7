"""Accuracies from tables and from functions of the user's own."""

import gzip
import itertools
import json
import sys

import numpy as np
import pandas as pd
import pytest

import latprof
from latprof.errors import DataSetError, InputFileError, InvalidValueError, UsageError
from latprof.searchers.accuracy.accuracy_sources import load_accuracy

SPACE = latprof.get_space("nasbench-macro")


@pytest.fixture
def networks():
    return SPACE.sample(5, seed=3)


@pytest.fixture
def table(tmp_path, networks):
    path = tmp_path / "t.csv"
    names = [str(a) for a in networks]
    pd.DataFrame(
        {"architecture": names, "accuracy": np.arange(5.0), "other": np.arange(5.0) * 2}
    ).to_csv(path, index=False)
    return path


def test_a_csv_table_answers_by_architecture(table, networks):
    source = load_accuracy(str(table), SPACE)
    assert source(networks[::-1]).tolist() == [4, 3, 2, 1, 0]
    assert load_accuracy(str(table), SPACE, "other")(networks[:2]).tolist() == [0, 2]


def test_a_parquet_table_too(tmp_path, networks):
    path = tmp_path / "t.parquet"
    pd.DataFrame({"architecture": [str(a) for a in networks], "top1": range(5)}).to_parquet(path)
    assert load_accuracy(str(path), SPACE)(networks).tolist() == [0, 1, 2, 3, 4]


def test_the_file_of_nasbench_macro(tmp_path):
    names = ["".join(map(str, digits)) for digits in itertools.product(range(3), repeat=8)][:9]
    path = tmp_path / "macro.json"
    row = {"test_acc": [90.0, 91.0], "params": 1.0, "flops": 1.0}
    path.write_text(json.dumps({n: row | {"mean_acc": 90.0 + i} for i, n in enumerate(names)}))
    source = load_accuracy(str(path), SPACE)
    assert source([SPACE.parse("0,0,0,0,0,0,0,2")]).tolist() == [92.0]
    with pytest.raises(DataSetError, match="another space"):
        load_accuracy(str(path), latprof.get_space("proxyless"))


def test_which_column_must_be_said_where_there_are_several(tmp_path, networks):
    path = tmp_path / "t.csv"
    pd.DataFrame({"architecture": [str(a) for a in networks], "a": 1.0, "b": 2.0}).to_csv(path)
    with pytest.raises(InvalidValueError, match=r"several columns.*a or b"):
        load_accuracy(str(path), SPACE)
    with pytest.raises(InvalidValueError, match="no such column"):
        load_accuracy(str(path), SPACE, "c")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("", "is empty"),
        (",".join(map(str, range(20_000))) + "\n1" + ",1" * 19_999, "too many columns"),
        ("network,accuracy\n1,2\n", "no column 'architecture'"),
        ("architecture,accuracy\nnonsense,2\n", "no table of accuracies"),
        ('architecture,accuracy\n"0,0,0,0,0,0,0,0",\n', "no table of accuracies"),
    ],
)
def test_malformed_tables_are_refused(tmp_path, content, match):
    path = tmp_path / "t.csv"
    path.write_text(content)
    with pytest.raises((DataSetError, InvalidValueError), match=match):
        load_accuracy(str(path), SPACE)


def test_a_packed_table_is_not_unpacked(tmp_path):
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(bytes(1 << 20)))
    with pytest.raises(DataSetError, match="is compressed"):
        load_accuracy(str(path), SPACE)


def test_a_missing_table_is_refused():
    with pytest.raises(InputFileError, match="no file"):
        load_accuracy("not/there.csv", SPACE)


def test_a_function_of_the_working_directory(tmp_path, monkeypatch, networks):
    (tmp_path / "own_accuracy.py").write_text(
        "class Mine:\n    @staticmethod\n    def ask(architectures):\n"
        "        return [float(sum(a.choices)) for a in architectures]\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    source = load_accuracy("own_accuracy:Mine.ask", SPACE)
    assert source(networks) == [float(sum(a.choices)) for a in networks]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("no_such_module:f", "cannot be imported"),
        ("json:no_such", "cannot be imported"),
        ("json:__doc__", "no function"),
        ("json", "module:function"),
        (":f", "module:function"),
    ],
)
def test_what_is_no_function_is_refused(text, match):
    with pytest.raises(UsageError, match=match):
        load_accuracy(text, SPACE)


def test_a_function_has_no_column():
    with pytest.raises(UsageError, match="column"):
        load_accuracy("json:loads", SPACE, "a")
