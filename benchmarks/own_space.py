"""How well do 60 measured networks of a user's own space predict 40 others?

Usage: ``python -m benchmarks.own_space [--kind class] [--folder FOLDER] [--seed 0] [--check]``

Collects 100 networks of each of the two spaces of docs/own-space.md (a class, and a function that
builds torch modules) on this computer, 30 of them twice for the noise floor, as ``latprof collect``
does; the stores in FOLDER resume. The hybrid is fitted to 60 and tested on 40, for five splits.
Needs a quiet computer for about twenty minutes. Lines are those of the page's code, without blank
ones.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

import numpy as np

import latprof

PAGE = Path(__file__).resolve().parent.parent / "docs" / "own-space.md"
SPACES = {"class": "my_space:ResNetSpace", "function": "my_function:space"}
NETWORKS, HELD_OUT, REPEATED = 100, 0.4, 0.3
SPLITS = 5
#: Most noise floors that the error may be, and most lines of code that are not blank.
PROMISED = 2.5
MOST_LINES = {"class": 40, "function": 15}


def write_spaces(folder: Path) -> dict[str, int]:
    """Write the page's files; the lines of code of each space."""
    text = PAGE.read_text(encoding="utf-8")
    lines = {}
    for kind, target in SPACES.items():
        name = target.partition(":")[0]
        found = re.search(
            rf"`{name}\.py`:\n\n```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL
        )
        assert found is not None
        (folder / f"{name}.py").write_text(found[1], encoding="utf-8")
        lines[kind] = sum(bool(line.strip()) for line in found[1].splitlines())
    return lines


def errors(kind: str, folder: Path, seed: int) -> tuple[float, list[float]]:
    """The noise floor and the held-out errors of the splits, in percent of the mean latency."""
    space = latprof.get_space(SPACES[kind])
    store = folder / f"{kind}.db"
    latprof.collect(
        space=space, n=NETWORKS, repeat_fraction=REPEATED, seed=seed, store=store, on_note=note
    )
    packs = [
        latprof.train(store, space=space, test_fraction=HELD_OUT, seed=seed + split, compare=False)
        for split in range(SPLITS)
    ]
    floor = packs[0].noise_floor
    assert floor is not None
    return floor.percent, [pack.metrics.rmse_percent for pack in packs if pack.metrics is not None]


def note(text: str) -> None:
    """Print a remark."""
    print(text, file=sys.stderr)


def main() -> int:
    """Print the table; 1 where --check finds a promise broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=SPACES, help="one of the two spaces alone")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    broken = False
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        lines = write_spaces(folder)
        sys.path.append(str(folder))
        print("space     lines  noise floor %  RMSE %  in noise floors  least  most")
        for kind in [arguments.kind] if arguments.kind else SPACES:
            floor, found = errors(kind, folder, arguments.seed)
            mean = float(np.mean(found))
            broken |= mean > PROMISED * floor or lines[kind] > MOST_LINES[kind]
            print(
                f"{kind:8}  {lines[kind]:5}  {floor:13.2f}  {mean:6.2f}  {mean / floor:15.2f}  "
                f"{min(found) / floor:5.2f}  {max(found) / floor:4.2f}",
                flush=True,
            )
    return int(arguments.check and broken)


if __name__ == "__main__":
    sys.exit(main())
