"""What a collection costs, and how well its labels repeat: the released command on a few networks.

Runs `latprof collect` with its defaults on architectures of the ProxylessNAS space (224x224,
batch 1, one thread), all of them measured again, and prints networks an hour and the noise floor.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Collect into a temporary store and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=60)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        store = Path(name) / "lat.db"
        command = "from latprof.cli.main import main; main()"
        options = f"collect --space proxyless -n {arguments.networks} --repeat-fraction 1 --json -q"
        done = subprocess.run(
            [sys.executable, "-c", command, *options.split(), "--store", str(store)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    values = json.loads(done.stdout)
    made, disturbed = values["visits_made"], values["tries_repeated"]
    # Here every network is measured twice; a campaign's own repeats are a twentieth of that.
    rate = 2 * values["networks_an_hour"]
    print(f"{values['networks']} architectures, {made} visits, {disturbed} disturbed")
    print(f"cost: {rate:.0f} measurements of an architecture an hour, at least 2000")
    print(f"time outside timed runs: {values['untimed_fraction']:.0%}")
    print(
        f"noise floor: {values['noise_floor_percent']:.2f} % from "
        f"{values['noise_floor_pairs']} networks measured again, at most 0.8 %"
    )


if __name__ == "__main__":
    main()
