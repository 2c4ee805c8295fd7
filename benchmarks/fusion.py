"""Kernels by rules against those that ONNX Runtime makes: ``python -m benchmarks.fusion``.

ONNX Runtime writes the graph that it would run, at its highest level of optimisation or at
``--level``; its kernels are compared with what :func:`latprof.graph.onnxruntime_kernels` makes of
the same file. A kernel matches by operator, domain, activation, and whether it adds another value.
Operators that only change a shape are left out on both sides. Prints the share that matches for
each network, what differs, and the whole; ``FILES`` are compared instead of the zoo's networks.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import onnx
import onnxruntime

from latprof.datasets.zoo import names, write_model
from latprof.graph import onnxruntime_kernels, read_network
from latprof.graph.runtime_kernels.fused_kernels import OptimizationLevel
from latprof.predictors.kernels.graph_kernels import block_of
from latprof.profilers.host.facts import processor_name
from latprof.profilers.runtimes.onnxruntime_sessions import set_level

_VIEWS = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
_TAKES_ACTIVATION = frozenset({"Conv", "FusedConv", "FusedGemm"})
Kernels = Counter[tuple[str, ...]]


def made_by_the_runtime(path: Path, level: OptimizationLevel = "all") -> Kernels:
    """Kernels of the graph that ONNX Runtime makes of a model."""
    options = onnxruntime.SessionOptions()
    set_level(options, [f"opt-{level}"])
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # it warns that the saved graph is for this processor only
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
        onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        graph = onnx.load(options.optimized_model_filepath, load_external_data=False).graph
    return Counter(
        (_spelled(node.domain, node.op_type), _activation(node), "add" if _sums(node) else "")
        for node in graph.node
        if node.op_type not in _VIEWS
    )


def made_by_rules(path: Path, level: OptimizationLevel = "all") -> Kernels:
    """Kernels of the same model without the runtime, on this processor."""
    found: Kernels = Counter()
    block = block_of(processor_name())
    for kernel in onnxruntime_kernels(read_network(path), block=block, level=level):
        applied = [each for each in kernel.activation.split("+") if each not in ("", "add")]
        name = applied[0].replace("relu6", "clip").split()[0] if applied else ""
        sums = "add" in kernel.activation.split("+")
        name = name if kernel.op_type in _TAKES_ACTIVATION else ""
        found[_spelled(kernel.domain, kernel.op_type), name, "add" if sums else ""] += 1
    return found


def _spelled(domain: str, op_type: str) -> str:
    return f"{domain}:{op_type}" if domain not in ("", "ai.onnx") else op_type


def _activation(node: onnx.NodeProto) -> str:
    """What a node applies to its result, in lower case."""
    if node.op_type not in _TAKES_ACTIVATION:
        return ""
    return next((a.s.decode().lower() for a in node.attribute if a.name == "activation"), "")


def _sums(node: onnx.NodeProto) -> bool:
    return node.op_type in ("Conv", "FusedConv") and len(node.input) > 3 and bool(node.input[3])


def differences(runtime: Kernels, rules: Kernels) -> str:
    """What either has and the other lacks, in one line."""
    lacks = (f"-{count} {' '.join(filter(None, key))}" for key, count in (runtime - rules).items())
    adds = (f"+{count} {' '.join(filter(None, key))}" for key, count in (rules - runtime).items())
    return ", ".join((*lacks, *adds))


def share(runtime: Kernels, rules: Kernels) -> tuple[int, int]:
    """Kernels that match, and the larger number of kernels."""
    return (runtime & rules).total(), max(runtime.total(), rules.total())


def _models(files: list[Path], folder: Path) -> Iterator[tuple[str, Path]]:
    if files:
        yield from ((path.stem, path) for path in files)
        return
    for name in names():
        path = folder / f"{name}.onnx"
        write_model(path, name)
        yield name, path
        path.unlink()


def main() -> None:
    """Print the share of kernels that match."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILES")
    parser.add_argument("--level", choices=get_args(OptimizationLevel), default="all")
    arguments = parser.parse_args()
    level = arguments.level
    matched = total = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, path in _models(arguments.files, Path(folder)):
            runtime, rules = made_by_the_runtime(path, level), made_by_rules(path, level)
            same, number = share(runtime, rules)
            matched, total = matched + same, total + number
            print(f"{name:32} {same:5}/{number:<5} {differences(runtime, rules)}", flush=True)
    print(f"{'all':32} {matched:5}/{total:<5} {matched / total:.1%}")


if __name__ == "__main__":
    main()
