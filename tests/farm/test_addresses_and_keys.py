"""With keys a farm is anywhere, and without them on this computer alone."""

import datetime as dt
import gc
import socket
import stat
import subprocess
import sys
from types import SimpleNamespace

import pytest

from latprof.errors import InputFileError, LatprofError, OutputPathError, UsageError
from latprof.farm import farm_keys as module
from latprof.farm import make_keys, start
from latprof.farm.addresses import check_address, check_listening
from latprof.farm.farm_connection import address_and_keys
from latprof.farm.farm_keys import find_keys, security_of

pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return make_keys(tmp_path_factory.mktemp("place") / "keys")


def test_only_the_owner_may_read_keys_and_the_authoritys_own_is_not_kept(keys):
    assert sorted(path.name for path in keys.iterdir()) == ["ca.pem", "cert.pem", "key.pem"]
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys.iterdir()} == {0o600}
    assert sum("PRIVATE KEY" in path.read_text() for path in keys.iterdir()) == 1


def test_keys_are_never_written_over(keys):
    before = (keys / "key.pem").read_bytes()
    with pytest.raises(OutputPathError, match="is there already"):
        make_keys(keys)
    assert (keys / "key.pem").read_bytes() == before


def test_dask_takes_them_for_all_roles_and_asks_for_encryption(keys):
    security = security_of(find_keys(keys))
    assert security.require_encryption
    for role in ("client", "scheduler", "worker"):
        found = security.get_tls_config_for_role(role)
        assert found["cert"] == str(keys / "cert.pem")
        assert security.get_listen_args(role)["ssl_context"] is not None


def test_keys_that_others_may_read_are_refused(keys, tmp_path):
    copied = tmp_path / "copied"
    copied.mkdir()
    for path in keys.iterdir():
        (copied / path.name).write_bytes(path.read_bytes())
        (copied / path.name).chmod(0o644)
    with pytest.raises(InputFileError, match=r"others may read .*key\.pem"):
        find_keys(copied)
    (copied / "key.pem").chmod(0o600)
    assert find_keys(copied) == copied
    (copied / "cert.pem").write_text("nothing")
    with pytest.raises(InputFileError, match="is no certificate"):
        find_keys(copied)
    make_keys(tmp_path / "other")
    (copied / "cert.pem").write_bytes((tmp_path / "other" / "cert.pem").read_bytes())
    with pytest.raises(InputFileError, match="not of one farm"):
        find_keys(copied)
    (copied / "cert.pem").unlink()
    with pytest.raises(InputFileError, match="cannot read the farm's key"):
        find_keys(copied)
    with pytest.raises(InputFileError, match="cannot read the farm's key"):
        find_keys("a\0b")
    with pytest.raises(OutputPathError):
        make_keys("x" * 5000)


def test_keys_out_of_date_are_refused_with_the_days_that_they_were_good_for(tmp_path, monkeypatch):
    past = dt.datetime.now(dt.UTC) - dt.timedelta(days=40)

    class Past(dt.datetime):
        @classmethod
        def now(cls, tz=None):
            return past

    then = SimpleNamespace(datetime=Past, timedelta=dt.timedelta, UTC=dt.UTC)
    with monkeypatch.context() as patch:
        patch.setattr(module, "dt", then)
        old = make_keys(tmp_path / "old", days=30)
    with pytest.raises(InputFileError, match="is not valid today"):
        find_keys(old)


def test_the_default_folder_counts_only_where_keys_are(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert find_keys(None) is None
    made = make_keys()
    assert made == tmp_path / "latprof" / "farm"
    assert find_keys(None) == made


@pytest.mark.parametrize(
    ("host", "with_keys", "expected"),
    [
        ("", False, "127.0.0.1"),
        ("", True, "0.0.0.0"),
        ("localhost", False, "localhost"),
        ("::1", False, "::1"),
        ("10.0.0.5", True, "10.0.0.5"),
        ("10.0.0.5", False, None),
        ("0.0.0.0", False, None),
        ("::", False, None),
        ("127.0.0.1.example.org", False, None),
    ],
)
def test_where_a_scheduler_listens(keys, host, with_keys, expected):
    folder = keys if with_keys else None
    if expected is None:
        with pytest.raises(UsageError, match="on this computer alone"):
            check_listening(host, folder)
    else:
        assert check_listening(host, folder) == expected


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_port_that_is_taken_is_said_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1:{port}: Address already"):
            start(port=port)
    gc.collect()  # dask leaves a socket to the collector


def test_an_address_without_tls_is_used_without_keys(keys):
    assert address_and_keys("tcp://127.0.0.1:99", keys) == ("tcp://127.0.0.1:99", None)
    assert address_and_keys("127.0.0.1:99", keys) == ("tls://127.0.0.1:99", keys)


@pytest.mark.parametrize(
    ("text", "with_keys", "expected"),
    [
        ("tls://lab:8786", True, "tls://lab:8786"),
        ("lab", True, "tls://lab:8786"),
        ("127.0.0.1:99", False, "tcp://127.0.0.1:99"),
        ("tcp://127.0.0.1:99", True, "tcp://127.0.0.1:99"),
        ("tls://lab:8786", False, None),
        ("tcp://lab:8786", True, None),
        ("tcp://lab:8786", False, None),
        ("http://lab:8786", True, None),
        ("tls://lab:0", True, None),
        ("tls://lab:99999", True, None),
        ("tls://lab:8786/page", True, None),
        ("", True, None),
        ("tls://:8786", True, None),
    ],
)
def test_which_addresses_are_connected_to(keys, text, with_keys, expected):
    folder = keys if with_keys else None
    if expected is None:
        with pytest.raises(LatprofError):
            check_address(text, folder)
    else:
        assert check_address(text, folder) == expected


_SLOW_FOLDER = """
from distributed import core, utils
from latprof.farm.addresses import use_settings
use_settings()
clock = iter(range(0, 1000, 100))
utils.time = lambda: next(clock)
core.Server({}, local_directory=".")
assert next(clock) == 200, "it was timed"
"""


def test_a_folder_that_is_made_slowly_is_no_warning(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", _SLOW_FOLDER],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


_LOGGING = """
import logging
from latprof.farm.addresses import use_settings
use_settings()
from distributed.comm import CommClosedError
for name in ("distributed.scheduler", "tornado.application"):
    for error in (CommClosedError("closed"), KeyError("a fault")):
        try:
            raise error
        except Exception:
            logging.getLogger(name).critical("said", exc_info=True)
"""


def test_a_connection_that_closes_prints_no_traceback_and_a_fault_does():
    done = subprocess.run(
        [sys.executable, "-c", _LOGGING], capture_output=True, text=True, check=True
    )
    assert "closed" not in done.stderr
    assert done.stderr.count("KeyError: 'a fault'") == 2
