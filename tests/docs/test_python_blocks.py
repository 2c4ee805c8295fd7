"""Each Python block of README and docs/ runs alone, as it stands, in the reader's folder."""

import ast

import pytest
from documents import blocks, printed_by

PYTHON = [block for block in blocks() if block.language == "python"]


def test_there_are_blocks():
    assert len(PYTHON) >= 12


@pytest.mark.parametrize("block", [b for b in PYTHON if not b.parsed_only], ids=str)
def test_a_block_runs_alone(block, reader, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(reader))
    code = compile(block.text, str(block), "exec")
    exec(code, {"__name__": "__main__"})
    shown = printed_by(block)
    assert shown is None or capsys.readouterr().out == shown


@pytest.mark.parametrize("block", [b for b in PYTHON if b.parsed_only], ids=str)
def test_a_block_for_a_device_is_python_whose_names_exist(block):
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom):
            module = pytest.importorskip(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names)


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_imports_are_from_latprof_or_one_room_deep(block):
    modules = {
        alias.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(ast.parse(block.text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert all(name.count(".") <= 1 for name in modules if name.startswith("latprof"))
