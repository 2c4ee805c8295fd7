"""An ``ssh`` that runs its command on this computer, and the real one with a server of its own."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import LONGEST_S

import latprof

FAKE = """#!/bin/sh
echo "$*" >> {log}
while [ "$1" != "--" ]; do shift; done
case "$2" in
  nowhere) echo "ssh: Could not resolve hostname nowhere" >&2; exit 255;;
  locked) echo "pi@locked: Permission denied (publickey,password)." >&2; exit 255;;
  stranger) echo "Host key verification failed." >&2; exit 255;;
  silent) exec sleep 600;;
  endless) head -c 3000000 /dev/zero; exit 0;;
  chatty) yes; exit 0;;
  liar) echo '{{"latprof": "{version}"}}'; echo '{{"processor": 3, "cores": "many"}}'; exit 0;;
  deep) echo '{{"latprof": "{version}"}}'; head -c 90000 /dev/zero | tr '\\0' '['; echo; exit 0;;
  noisy) echo "Welcome"; echo "a line of a profile" >&2;;
esac
exec sh -c "$3"
"""


def write_program(path, text):
    """A program of this text."""
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def python_there(folder, path=None):
    """A Python with latprof, or with what is in ``path``, as another computer has one."""
    root = path or Path(latprof.__file__).parents[1]
    return write_program(
        folder / "python there", f'#!/bin/sh\nPYTHONPATH={root} exec {sys.executable} "$@"\n'
    ).rename(folder / "python-there")


def install_fake(folder, monkeypatch):
    """Put the fake ``ssh`` first on the path; return the file that its words are written to."""
    programs = folder / "bin"
    programs.mkdir()
    log = folder / "ssh.log"
    write_program(programs / "ssh", FAKE.format(log=log, version=latprof.__version__))
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    monkeypatch.setenv("LATPROF_SSH_PYTHON", str(python_there(folder)))
    return log


class SshServer:
    """Debian's sshd on a port of its own, for the user who runs the tests.

    ``board`` is a host of the client's configuration that leads to it; ``stranger`` one whose key
    the server does not know.
    """

    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        for name in ("host", "client", "other"):
            self._run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name))
        shutil.copy(folder / "client.pub", folder / "authorized")
        self.known_hosts = folder / "known_hosts"
        self.known_hosts.touch()
        lines = {
            "Port": self.port,
            "ListenAddress": "127.0.0.1",
            "HostKey": folder / "host",
            "AuthorizedKeysFile": folder / "authorized",
            "PidFile": folder / "pid",
            "StrictModes": "no",
            "UsePAM": "no",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "PermitRootLogin": "yes",
        }
        config = "".join(f"{name} {value}\n" for name, value in lines.items())
        (folder / "sshd_config").write_text(config, encoding="utf-8")
        hosts = "".join(
            f"Host {name}\n HostName 127.0.0.1\n Port {self.port}\n IdentityFile {folder / key}\n"
            f" IdentitiesOnly yes\n UserKnownHostsFile {self.known_hosts}\n"
            for name, key in (("board", "client"), ("stranger", "other"))
        )
        (folder / "ssh_config").write_text(hosts, encoding="utf-8")
        programs = folder / "bin"
        programs.mkdir()
        program = f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder / "ssh_config"} "$@"\n'
        write_program(programs / "ssh", program)
        self.path = str(programs)

    @staticmethod
    def _run(*words):
        subprocess.run(words, check=True, capture_output=True, timeout=LONGEST_S)

    def know_host(self):
        """Let the client know the server's key."""
        kind, key, *_ = (self.folder / "host.pub").read_text(encoding="utf-8").split()
        line = f"[127.0.0.1]:{self.port} {kind} {key}\n"
        self.known_hosts.write_text(line, encoding="utf-8")

    def __enter__(self):
        if os.geteuid() == 0:  # it wants an empty folder there
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        log = (self.folder / "sshd.log").open("wb")
        config = str(self.folder / "sshd_config")
        self.process = subprocess.Popen(
            ["/usr/sbin/sshd", "-D", "-e", "-f", config], stdout=log, stderr=log
        )
        log.close()
        end = time.monotonic() + LONGEST_S
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 5).close()
                return self
            assert self.process.poll() is None, (self.folder / "sshd.log").read_text()
            assert time.monotonic() < end
            time.sleep(0.05)

    def __exit__(self, *exception):
        self.process.terminate()
        self.process.wait(LONGEST_S)


@contextlib.contextmanager
def ssh_server(folder):
    """Yield a server; skips where Debian's package is not installed."""
    if not Path("/usr/sbin/sshd").exists():
        pytest.skip("openssh-server is not installed: make debian-packages")
    with SshServer(folder) as server:
        yield server
