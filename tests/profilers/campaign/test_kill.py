"""No acknowledged measurement is lost, whenever the process is killed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_hundred_kills_at_random_moments_lose_nothing_and_repeat_nothing(tmp_path):
    harness = Path(__file__).parents[2] / "support" / "kill_harness.py"
    done = subprocess.run(
        [sys.executable, harness, tmp_path, "100"],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    words = done.stdout.split()
    assert words[:2] == ["100", "kills,"]
    assert int(words[2]) > 50, "most kills came after some progress"
