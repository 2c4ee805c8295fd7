"""Search under a latency limit: ``foreign-nas --limit-ms 5 --verify``."""

import argparse
import sys

import torch

from foreign_nas.search import accuracy, derive, train
from latprof import Architecture, LatprofError, Pack, load_pack, verify
from latprof.errors import TargetMismatchError


def main() -> int:
    """Run the command; exit status 1 where the measured winner breaks the limit."""
    parser = argparse.ArgumentParser("foreign-nas", description=__doc__)
    parser.add_argument("--pack", default="proxyless-cpu-ort1", help="a file or a shipped pack")
    parser.add_argument("--limit-ms", type=float, default=5.0)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--verify", action="store_true", help="measure the winner on this computer")
    options = parser.parse_args()
    try:
        pack = load_pack(options.pack)
        architecture = search(pack, options.limit_ms, options.steps)
        return measure(pack, architecture, options.limit_ms) if options.verify else 0
    except LatprofError as error:
        print(error, file=sys.stderr)
        return error.exit_status


def search(pack: Pack, limit_ms: float, steps: int) -> Architecture:
    """Train a supernet, and print the network derived from it."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # tensors this small only wait for one another
    net = train(pack.predictor, limit_ms, steps=steps)
    choices = derive(net, pack.predictor, limit_ms)
    architecture = pack.space.architectures(choices[None])[0]
    predicted_ms = pack.predictor.predict(choices[None])[0]
    bound_ms = pack.predictor.predict(choices[None], upper=0.95)[0]
    print(f"chosen    {architecture}")
    print(f"accuracy  {accuracy(net, choices):.1%} of made-up images, with the supernet's weights")
    print(
        f"predicted {predicted_ms:.3f} ms, 95 % stay below {bound_ms:.3f} ms (limit {limit_ms:g})"
    )
    return architecture


def measure(pack: Pack, architecture: Architecture, limit_ms: float) -> int:
    """Measure the network here; the pack's numbers are judged only on the pack's own target."""
    try:
        found = verify(pack, architecture, limit_ms=limit_ms)
    except TargetMismatchError:
        found = verify(pack, architecture, limit_ms=limit_ms, other_target=True)
    measured = f"{found.measured_ms:.3f} ms ({found.low_ms:.3f} to {found.high_ms:.3f})"
    if not found.same_target:
        print(f"measured  {measured}, on another target than predicted: no verdict")
        print(f"  predicted for  {found.target.describe()}")
        print(f"  measured on    {found.measured_on.describe()}")
        return 0
    verdict = "kept" if found.keeps_limit else "broken"
    print(f"measured  {measured}, {found.gap:+.1%} of the prediction: limit {verdict}")
    return 0 if found.keeps_limit else 1


if __name__ == "__main__":
    sys.exit(main())
