"""Which runtimes of this processor drop dead operators, and what that does to predictors.

Usage: ``python -m benchmarks.pruning [--only cpu:torch,...] [--cells 30] [--column 300]
[--keep FILE]``

Cells of NAS-Bench-201 with a convolution on no path from input to output are built as they are
named and pruned, and each installed runtime runs both in turn. Printed: the time as named over the
time pruned (median over the cells, and the range of their middle 80 %), what the operators'
multiply-accumulates would have it be, and the verdict.

``--column`` measures so many random cells with ONNX Runtime in both forms, which makes a device
that runs dead operators and one that does not. For each it prints the error of ``hybrid`` fitted on
20, 100 and the most rows, on the rows that are left, and which networks it took. ``--keep`` writes
each cell's two times to a text file, and does not measure again what it holds.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from latprof.datasets.models.pruning import pruned_blocks
from latprof.datasets.spaces.named import get_space
from latprof.predictors.models.hybrid import HybridPredictor
from latprof.profilers.base import RunOptions
from latprof.profilers.targets import profiler_class, target_spellings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latprof.datasets.spaces.base import Architecture, Choices, SearchSpace
    from latprof.profilers.base import Profiler

    Floats = NDArray[np.float64]

#: Bursts of each network, in turn, and runs in a burst, of which the first is dropped.
BURSTS, RUNS = 5, 6
#: Share of what dead operators should cost below which they count as dropped, and above as run.
DROPPED, RUN = 0.3, 0.7
SEED = 0
ROWS = (20, 100)


def cells_with_dead_convolutions(space: SearchSpace, count: int) -> Choices:
    """Random cells whose dead edges are at least a fifth of their work, shape (count, edges)."""
    drawn = space.sample_choices(2000, SEED)
    kept = [
        row
        for row, each in zip(drawn, space.architectures(drawn), strict=True)
        if work_ratio(space, each) > 1.25
    ]
    return np.array(kept[:count])


def work_ratio(space: SearchSpace, architecture: Architecture) -> float:
    """Multiply-accumulates of the network as named over those of the pruned one."""
    blocks = space.blocks(architecture)
    named, left = (
        sum(op.macs for block in each for op in block.operators())
        for each in (blocks, pruned_blocks(blocks))
    )
    return named / left


def both_ms(
    profiler: Profiler, space: SearchSpace, architecture: Architecture
) -> tuple[float, float]:
    """Median milliseconds of a network as named and pruned, run in turn."""
    models = [profiler.load(space.onnx_bytes(architecture, pruned=p)) for p in (False, True)]
    runs: list[list[float]] = [[], []]
    for _ in range(BURSTS):
        for made, model in zip(runs, models, strict=True):
            made.extend(list(model.run(RUNS))[1:])
    named, left = (float(np.median(found)) for found in runs)
    return named, left


def verdict(space: SearchSpace, cells: Choices, spelling: str) -> str:
    """One runtime's line."""
    profiler = profiler_class(spelling)(RunOptions())
    architectures = space.architectures(cells)
    pairs = np.array([both_ms(profiler, space, each) for each in architectures])
    ratios = pairs[:, 0] / pairs[:, 1]
    work = np.array([work_ratio(space, each) for each in architectures])
    share = float(np.median((ratios - 1) / (work - 1)))
    words = "runs them" if share > RUN else "drops them" if share < DROPPED else "in part"
    low, high = np.quantile(ratios, [0.1, 0.9])
    return (
        f"{spelling:20}{np.median(ratios):8.3f}{low:8.3f} to {high:.3f}{np.median(work):10.3f}"
        f"{share:10.2f}  {words}"
    )


def column(space: SearchSpace, count: int, keep: Path | None) -> None:
    """Measure random cells in both forms, and print what ``hybrid`` makes of each column."""
    choices = space.sample_choices(count, SEED + 1)
    profiler = profiler_class("cpu:onnxruntime")(RunOptions())
    lines = keep.read_text("ascii").splitlines() if keep is not None and keep.exists() else []
    for each in space.architectures(choices)[len(lines) :]:
        lines.append(" ".join(f"{ms:.5f}" for ms in both_ms(profiler, space, each)))
        if keep is not None:
            keep.write_text("\n".join(lines) + "\n", encoding="ascii")
    pairs = np.array([line.split() for line in lines[:count]], dtype=np.float64)
    print(
        f"\n{count} cells, cpu:onnxruntime: hybrid's RMSE, % of the mean, and the networks it took"
    )
    for name, latency in zip(("as named", "pruned"), pairs.T, strict=True):
        line = f"{name:10}{latency.mean():8.3f} ms"
        for rows in (*ROWS, 4 * count // 5):
            fitted = HybridPredictor(space).fit(choices[:rows], latency[:rows])
            errors = fitted.predict(choices[rows:]) - latency[rows:]
            percent = 100 * np.sqrt(np.mean(errors**2)) / latency.mean()
            line += f"   {rows} rows: {percent:6.2f} {fitted.networks_}"
        print(line, flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="targets, with commas; all that are ready else")
    parser.add_argument("--cells", type=int, default=30, help="cells a runtime")
    parser.add_argument("--column", type=int, default=0, help="cells of the two columns, about 300")
    parser.add_argument("--keep", type=Path, help="file that keeps the times of --column")
    arguments = parser.parse_args()
    ready = [
        name
        for name in target_spellings()
        if name.startswith("cpu:") and profiler_class(name).availability().state == "ready"
    ]
    space = get_space("nasbench201")
    cells = cells_with_dead_convolutions(space, arguments.cells)
    print(f"{len(cells)} cells of NAS-Bench-201 with dead convolutions: as named over pruned")
    print(f"{'runtime':20}{'time':>8}{'middle 80 %':>18}{'work':>10}{'share':>8}")
    for name in filter(None, arguments.only.split(",")) if arguments.only else ready:
        print(verdict(space, cells, name), flush=True)
    print("share: how much of the dead operators' time is taken, 0 for none of it")
    if arguments.column:
        column(space, arguments.column, arguments.keep)


if __name__ == "__main__":
    main()
