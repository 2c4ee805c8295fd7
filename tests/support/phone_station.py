"""A phone, an adb server and a home folder of their own: where whole commands meet a phone."""

import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from adb_phone import Phone
from command_line import LONGEST_S
from free_port import free_port
from phone_profiles import PROFILES

from latprof.errors import LatprofError
from latprof.profilers.runtimes.android.transport.adb_server import AdbServer
from latprof.profilers.runtimes.android.transport.base import Deadline
from latprof.profilers.runtimes.android.transport.services import PhoneServices

ROOT = Path(__file__).parents[2]


def library(package, pattern):
    """A runtime's library in its wheel."""
    found = importlib.util.find_spec(package)
    assert found is not None, f"{package} is not installed"
    return next(Path(found.origin).parent.glob(pattern))


def litert_library():
    return library("ai_edge_litert", "libLiteRt.so")


def onnxruntime_library():
    return library("onnxruntime", "capi/libonnxruntime.so*")


class Station:
    """A phone with an adb server that knows it, for commands in a home of their own.

    Parameters
    ----------
    folder : Path
    profile : str
        Of the phone.
    """

    def __init__(self, folder, profile="two-cores", *, server_port=None, **phone):
        self.folder = Path(folder)
        self.home = self.folder / "home"
        self.home.mkdir(parents=True)
        self.phone = Phone(PROFILES[profile], self.folder / "phone", **phone)
        self._with_keys = phone.get("with_keys", False)
        self.port = server_port or free_port()
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "ANDROID_"))},
            "HOME": str(self.home),
            "ANDROID_ADB_SERVER_PORT": str(self.port),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        }
        self.environment.pop("ADB_VENDOR_KEYS", None)

    def __enter__(self):
        self.start_server()
        try:
            if self._with_keys:
                self.phone.allow(self._public_key())
            self.phone.boot()
            self.connect()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error):
        self.stop_server()
        self.phone.__exit__(*error)

    # The server --------------------------------------------------------------------------------

    @property
    def server(self):
        return AdbServer(("127.0.0.1", self.port))

    def start_server(self):
        self._adb("start-server")

    def stop_server(self):
        self._adb("kill-server")

    def _adb(self, *words):
        subprocess.run(
            [shutil.which("adb"), *words], env=self.environment, capture_output=True, check=False
        )

    def _public_key(self):
        """The server's own key, which it has made when it started."""
        private = self.home / ".android" / "adbkey"
        end = time.monotonic() + LONGEST_S
        while not private.with_name("adbkey.pub").exists():
            self.start_server()
            assert time.monotonic() < end
            time.sleep(0.05)
        return private.with_name("adbkey.pub")

    def connect(self, serial=None, state="device"):
        """Have the server, started where it is not there, know the phone in this state."""
        serial = serial or self.phone.serial
        end = time.monotonic() + LONGEST_S
        while True:
            with contextlib.suppress(LatprofError):
                self.server.ask(f"host:connect:{serial}", Deadline(LONGEST_S, "connect"))
            with contextlib.suppress(LatprofError):
                if {p.serial: p.state for p in self.server.phones()}.get(serial) == state:
                    return
            if not self.server.answers():
                self.start_server()
            assert time.monotonic() < end
            time.sleep(0.05)

    def disconnect(self, serial):
        """Have the server forget a phone."""
        self.server.ask(f"host:disconnect:{serial}", Deadline(LONGEST_S, "disconnect"))

    def shell(self, words):
        """Run a command on the phone."""
        with self.server.link(self.phone.serial, LONGEST_S) as link:
            return PhoneServices(link).run(words, timeout_s=LONGEST_S)

    @contextlib.contextmanager
    def in_this_process(self):
        """Have latprof in this process meet the phone too."""
        names = ("HOME", "ANDROID_ADB_SERVER_PORT", "XDG_DATA_HOME", "XDG_CACHE_HOME")
        kept = {name: os.environ.pop(name, None) for name in names}
        os.environ.update({name: self.environment[name] for name in names[:2]})
        try:
            yield
        finally:
            for name, value in kept.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value

    # Commands ----------------------------------------------------------------------------------

    @property
    def target(self):
        return f"adb:{self.phone.serial}:litert"

    def start(self, *words, **more):
        """A command that has been started."""
        return subprocess.Popen(
            [sys.executable, "-m", "latprof", *map(str, words)],
            env=self.environment | more.pop("environment", {}),
            cwd=self.folder,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            **more,
        )

    def run(self, *words, status=0, timeout_s=900, **more):
        """A command that has ended, with this exit status (None: any)."""
        process = self.start(*words, **more)
        out, error = process.communicate(timeout=timeout_s)
        done = subprocess.CompletedProcess(words, process.returncode, out, error)
        assert "Traceback" not in error, error
        if status is not None:
            assert done.returncode == status, (done.returncode, out, error)
        return done

    def json(self, *words, **more):
        """What a command prints; asked again where this computer is too busy for a number."""
        for _ in range(8):
            done = self.run(*words, "--json", **more)
            # A number that a result lacks for that is told of in the result itself.
            if "[host-busy]" not in done.stderr and "host too busy" not in done.stdout:
                break
        return json.loads(done.stdout)

    def take_library(self, path=None):
        self.run("android", "setup", path or litert_library())

    def files_outside(self):
        """What of the phone a latprof could have written outside its folder, with contents."""
        found, root = {}, self.phone.inside
        for place in ("data", "tmp", "answers"):
            for path in (root / place).rglob("*"):
                inside = path.relative_to(root)
                if path.is_file() and not str(inside).startswith("data/local/tmp/latprof/"):
                    found[str(inside)] = path.read_bytes()
        found.pop("answers/log", None)
        return found


@contextlib.contextmanager
def station(**options):
    """A station in a temporary folder, with LiteRT's library."""
    with tempfile.TemporaryDirectory() as folder, Station(folder, **options) as made:
        made.take_library()
        yield made


if __name__ == "__main__":
    with station() as made:
        print(made.phone.serial, made.home)
        done = subprocess.run(
            [sys.executable, "-m", "latprof", *sys.argv[1:]], env=made.environment, check=False
        )
        sys.exit(done.returncode)
