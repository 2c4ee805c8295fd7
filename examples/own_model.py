"""Journey of an engineer: measure a model of your own, and see where its time goes.

Usage: python examples/own_model.py MODEL.onnx
"""

import sys
from collections import defaultdict

import latprof


def main(path: str) -> None:
    """Print the latency, its error, and the time by kind of kernel."""
    profile = latprof.profile(path, kernels=True)
    print(f"{profile.name}: {profile.latency_ms:.3f} ms +- {profile.relative_error:.1%}")
    print(f"on {profile.target.describe()}")
    by_kind: dict[str, float] = defaultdict(float)
    for kernel in profile.kernels:
        by_kind[kernel.kind] += kernel.latency_ms
    for kind, latency_ms in sorted(by_kind.items(), key=lambda item: -item[1]):
        print(f"{kind:16} {latency_ms:8.3f} ms")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
