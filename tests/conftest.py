"""A store and a pack, made once, and a way to run the command line as a user does."""

import dataclasses
import gc
import getpass
import hashlib
import os
import signal
import sys
import tempfile
from functools import partial
from pathlib import Path

# Before numpy and torch are imported: two test processes on two cores, each with a pool of threads
# that wait for work by spinning, take more than twice as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from command_line import run_latprof
from computed_store import COLLECT, fill_store
from hypothesis import HealthCheck, settings

# No test fails because the machine is slow.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

#: Reasons to skip a test in continuous integration too: hardware, and data that no package brings.
ALLOWED_TO_SKIP = ("GPU", "NVIDIA", "onnxruntime-gpu", "tensorrt", "public data", "two cores")

#: This folder.
TESTS = Path(__file__).parent
#: Files that take longest, the longest first: processes that share the files then end together.
LONGEST = (
    "docs/test_command_lines.py",
    "fuzz/test_fuzzers.py",
    "docs/test_python_blocks.py",
    "cli/test_own_space.py",
    "cli/test_every_command.py",
    "datasets/spaces/test_space_contract.py",
    "predictors/test_predictor_contract.py",
    "test_examples.py",
    "docs/test_notebook.py",
    "docs/test_pipeline.py",
    "cli/test_signals.py",
    "cli/test_search_command.py",
    "cli/test_journey.py",
    "cli/test_bad_input.py",
    "cli/test_profile_and_compare.py",
    "test_third_party.py",
    "workflows/test_own_spaces.py",
    "workflows/test_verify.py",
    "profilers/runtimes/cpu/test_cpu_torch.py",
    "profilers/runtimes/tvm/test_tvm_tuning.py",
    "searchers/differentiable/test_differentiable.py",
)

#: Over which a host's counters are compared.
SHORT_S = 0.02


def _must_not_be_skipped(report):
    """Whether a skip hides a part that `.ci/run` should have installed."""
    reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
    known = any(words in reason for words in ALLOWED_TO_SKIP)
    return report.skipped and os.environ.get("CI") == "true" and not known


def _failed(report):
    if _must_not_be_skipped(report):
        report.outcome, report.longrepr = "failed", f"skipped in CI: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """A skip for a missing package or runtime is a failure in continuous integration."""
    return _failed((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    """The same for a whole module."""
    return _failed((yield))


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """What is imported and collected stays: the garbage collector looks through the rest alone.

    Tests whose assertions pytest has rewritten are kept, also where PYTHONDONTWRITEBYTECODE is set:
    to do so again in each process of each run takes a quarter of the collection.
    """
    gc.disable()
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, False
    try:
        return (yield)
    finally:
        sys.dont_write_bytecode = before
        gc.freeze()
        gc.enable()


def pytest_xdist_auto_num_workers():
    """One process more than there are cores: tests wait for others a fifth of the time."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items):
    """The longest files come first, the others in the order that they were found in."""
    places = {TESTS / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(scope="session", autouse=True)
def _interruptible():
    """Give signals their meaning back, which a shell takes from its background, and nohup."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def _temporary_files(tmp_path_factory):
    """Temporary files lie where pytest removes them, those of processes that a test kills too."""
    folder, before = tmp_path_factory.mktemp("tmp"), Path(tempfile.gettempdir())
    with pytest.MonkeyPatch.context() as patch:
        if "TORCHINDUCTOR_CACHE_DIR" not in os.environ:  # what is compiled is kept where it was
            kept = before / f"torchinductor_{getpass.getuser()}"
            patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(kept))
        patch.setenv("TMPDIR", str(folder))
        patch.setattr(tempfile, "tempdir", str(folder))
        yield


@pytest.fixture(scope="session", autouse=True)
def _busy_or_not(tmp_path_factory):
    """Tests need no quiet machine: as many visits and a number on a busy one, too.

    And what quiet moments have told of this host is not theirs. Nobody waits half a second for
    counters that no test reads; tests/profilers/host has hosts of its own.
    """
    from latprof.measurement.quiet import known_host
    from latprof.profilers import comparing, profiling, sweeping
    from latprof.profilers.campaign import campaign
    from latprof.profilers.host import checks, host_report
    from latprof.profilers.host.facts import Host

    data = tmp_path_factory.mktemp("data")

    def folder_of_test(_kind):
        test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
        folder = data / hashlib.sha256(test.encode()).hexdigest()[:16]
        folder.mkdir(exist_ok=True)
        return folder

    with pytest.MonkeyPatch.context() as patch:
        for module in (comparing, profiling, sweeping):
            patch.setattr(module, "refuse_too_busy", lambda _half_width, _share: None)
        for module in (campaign, comparing, profiling, sweeping):
            patch.setattr(module, "needs_more", lambda *_visits: False)
        # The reference is tied to the sibling of a tiny network by as many visits as the network
        # has, in one process: no test reads how narrow that makes the tie.
        patch.setattr(campaign, "TIE_VISITS", 1)
        patch.setattr(known_host, "data_folder", folder_of_test)
        patch.setattr(checks, "Host", partial(Host, window_s=SHORT_S))
        patch.setattr(host_report, "WINDOW_S", SHORT_S)
        yield


@pytest.fixture(scope="session")
def collect_options():
    """The command that the store of ``collected`` answers for, without the store."""
    return COLLECT


@pytest.fixture(scope="session")
def latprof():
    """Run ``latprof`` as a user does; returns the completed process."""
    return run_latprof


@pytest.fixture(scope="session")
def collected(tmp_path_factory):
    """A store with 14 networks of this computer and their kernels, times computed; read only."""
    return fill_store(tmp_path_factory.mktemp("collected") / "lat.db")


@pytest.fixture(scope="session")
def pack(latprof, collected):
    """A pack trained on it, and beside it what the command printed; read only."""
    path = collected.with_name("cpu.pack")
    done = latprof("train", collected, "-o", path)
    assert done.returncode == 0, done.stderr
    path.with_suffix(".txt").write_text(done.stdout + done.stderr, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def pack_elsewhere(pack):
    """The same of a processor whose kernels do not come along, so that none answer beside it."""
    from latprof.predictors.pack.saving import load_pack, save_pack

    own = load_pack(pack)
    assert own.target is not None
    elsewhere = dataclasses.replace(own.target, device_name="a processor without kernels")
    path = pack.with_name("elsewhere.pack")
    save_pack(dataclasses.replace(own, target=elsewhere), path)
    return path
