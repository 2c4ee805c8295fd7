"""A store and a pack, made once, and a way to run the command line as a user does."""

import signal

import pytest
from command_line import run_latprof
from computed_store import COLLECT, fill_store


@pytest.fixture(scope="session", autouse=True)
def _interruptible():
    """Give Ctrl-C its meaning back, which a shell takes from what it runs in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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
    """A pack trained on it; read only."""
    path = collected.with_name("cpu.pack")
    done = latprof("train", collected, "-o", path)
    assert done.returncode == 0, done.stderr
    return path
