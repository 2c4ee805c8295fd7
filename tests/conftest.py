"""A real collection, made once, and a way to run the command line as a user does."""

import signal

import pytest
from command_line import run_latprof


@pytest.fixture(scope="session", autouse=True)
def _interruptible():
    """Give Ctrl-C its meaning back, which a shell takes from what it runs in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def collect_options():
    """Small images, few visits: the command's own work, quickly."""
    return "collect --space proxyless --resolution 64 --visits 2 -n 14 --ops -q".split()


@pytest.fixture(scope="session")
def latprof():
    """Run ``latprof`` as a user does; returns the completed process."""
    return run_latprof


@pytest.fixture(scope="session")
def collected(latprof, collect_options, tmp_path_factory):
    """A store with 14 networks measured on this computer, with kernels; read only."""
    store = tmp_path_factory.mktemp("collected") / "lat.db"
    done = latprof(*collect_options, "--store", store)
    assert done.returncode == 0, done.stderr
    return store


@pytest.fixture(scope="session")
def pack(latprof, collected):
    """A pack trained on it; read only."""
    path = collected.with_name("cpu.pack")
    done = latprof("train", collected, "-o", path)
    assert done.returncode == 0, done.stderr
    return path
