"""Interrupted or killed, a collection goes on where it was."""

import json
import signal
import subprocess
import sys
import time

import pytest

from latprof.measurement.store.store import Store

COLLECT = (
    *("collect", "--space", "proxyless", "--resolution", "64", "--visits", "2", "--rounds", "1"),
    *("-n", "6", "--repeat-fraction", "0"),
)


def start(store):
    command = [sys.executable, "-c", "from latprof.cli.main import main; main()"]
    return subprocess.Popen(
        [*command, *COLLECT, "--store", str(store)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def stored(path):
    if not path.exists():
        return 0
    try:
        with Store.open(path) as store:
            return sum(target.measurements for target in store.targets())
    except Exception:
        return 0


def wait_for_some(path, wanted):
    deadline = time.monotonic() + 900
    while stored(path) < wanted:
        assert time.monotonic() < deadline, "the collection makes no progress"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("how", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -9), (signal.SIGTERM, 143)]
)
def test_a_stopped_collection_resumes(latprof, tmp_path, how, status):
    path = tmp_path / "lat.db"
    process = start(path)
    wait_for_some(path, 4)
    process.send_signal(how)
    _, errors = process.communicate(timeout=900)
    assert process.returncode == status, errors
    if how != signal.SIGKILL:
        assert "rerun the same command to resume" in errors
        assert "Traceback" not in errors
    assert stored(path) >= 4
    with Store.open(path) as store:  # what a busy machine disturbed is made again
        kept = len(store.finished_visits(store.only_target().target))
    done = latprof(*COLLECT, "--store", path, "--json", "-q")
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    assert values["visits_resumed"] == kept
    assert values["visits_made"] + values["visits_resumed"] == 12
