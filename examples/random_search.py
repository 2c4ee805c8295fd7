"""Journey of a researcher: search the space under a latency limit, with a predictor in the loop.

Usage: python examples/random_search.py PACK LIMIT_MS

PACK is what `latprof train` saved (`make demo` leaves demo/cpu.pack). The accuracy here is a
stand-in, the logarithm of the multiply-accumulates; put your own evaluation in its place.
"""

import sys

import numpy as np

import latprof
from latprof.searchers import random_search


def main(pack_path: str, limit_ms: float) -> None:
    """Print the best architecture that keeps the limit."""
    pack = latprof.load_pack(pack_path)
    space = pack.predictor.space

    def accuracy(architectures: list[latprof.Architecture]) -> np.ndarray:
        return np.log([space.macs(architecture) for architecture in architectures])

    found = random_search(pack.predictor, accuracy, limit_ms, budget=200)
    print(f"{found.architecture}")
    print(f"predicted {found.latency_ms:.3f} ms, {space.macs(found.architecture) / 1e6:.0f}M MACs")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], float(sys.argv[2]))
