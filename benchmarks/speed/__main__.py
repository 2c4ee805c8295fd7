"""``python -m benchmarks.speed``: ``pytest benchmarks/speed --benchmark-only``.

Arguments are pytest's: ``--benchmark-json FILE`` writes the times, ``--benchmark-autosave`` keeps
them and ``--benchmark-compare`` sets them beside those kept last.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest


def main() -> None:
    """Hand on to pytest."""
    parser = argparse.ArgumentParser(description=__doc__)
    _, arguments = parser.parse_known_args()
    sys.exit(pytest.main([str(Path(__file__).parent), "--benchmark-only", *arguments]))


if __name__ == "__main__":
    main()
