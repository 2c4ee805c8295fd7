"""A PostgreSQL server of Debian's package, started for a test in a folder of its own."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from command_line import LONGEST_S
from free_port import free_port


def programs():
    """The folder of the server's programs; None where the package is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


class Server:
    """A server that is running; ``url`` is of its empty database."""

    def __init__(self, folder, user, port):
        self._folder, self._user = folder, user
        self.port = port
        self.url = f"postgresql+psycopg://latprof:hush@127.0.0.1:{port}/postgres"

    def run(self, program, *words):
        as_user = {"user": self._user} if self._user else {}
        subprocess.run(
            [str(programs() / program), *words],
            check=True,
            capture_output=True,
            timeout=LONGEST_S,
            cwd=self._folder,
            **as_user,
        )

    def make(self):
        """An empty database, with a user and a password."""
        password = self._folder / "password"
        password.write_text("hush", encoding="utf-8")
        password.chmod(0o644)
        words = ("-D", str(self._folder / "data"), "-U", "latprof", "-A", "scram-sha-256")
        self.run("initdb", *words, f"--pwfile={password}", "--no-sync", "-E", "UTF8")

    def start(self) -> None:
        options = f"-p {self.port} -h 127.0.0.1 -k {self._folder} -c fsync=off"
        log = str(self._folder / "log")
        self.run(
            "pg_ctl", "-D", str(self._folder / "data"), "-w", "-l", log, "-o", options, "start"
        )

    def stop(self, how: str = "immediate") -> None:
        """Stop it; ``immediate`` is as if it had been killed."""
        self.run("pg_ctl", "-D", str(self._folder / "data"), "-m", how, "-w", "stop")

    def empty(self):
        """An empty database."""
        import psycopg

        place = self.url.replace("+psycopg", "")
        with psycopg.connect(place, autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")


@contextlib.contextmanager
def server(keep=None):
    """Yield a server; skips where Debian's package or the driver is not installed.

    With ``keep``, a folder, it has what an earlier one had, and leaves it.
    """
    pytest.importorskip("psycopg")
    if programs() is None:
        pytest.skip("PostgreSQL is not installed: make debian-packages")
    user = None
    folder = keep or Path(tempfile.mkdtemp(prefix="latprof-pg-", dir="/tmp"))
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:  # the server refuses to be root
        user = "postgres"
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
    found = Server(folder, user, free_port())
    try:
        if (folder / "data").exists():
            with contextlib.suppress(subprocess.CalledProcessError):
                found.stop()  # of a test that was killed
        else:
            found.make()
        found.start()
        yield found
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            found.stop("fast" if keep else "immediate")
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
