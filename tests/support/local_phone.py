"""A phone that is this computer: a session's link to it, without adb."""

import os
import subprocess
from pathlib import Path

from latprof.errors import ConnectionLostError
from latprof.profilers.runtimes.android.phone_facts import Cluster, PhoneFacts
from latprof.profilers.runtimes.android.transport.services import Ended

FACTS = PhoneFacts(
    "OWN",
    "Google",
    "Pixel 0",
    "SoC",
    "g/p/p:14/A.1/2:user/k",
    "14",
    34,
    ("x86_64",),
    (Cluster((0,), 1_800_000), (Cluster((1,), 2_800_000))),
)


class LocalStream:
    """A program of this computer as a stream of a phone."""

    def __init__(self, process):
        self.process = process

    def read(self, deadline, most=1 << 16):
        return os.read(self.process.stdout.fileno(), most)

    def write(self, data, deadline):
        try:
            self.process.stdin.write(data)
            self.process.stdin.flush()
        except OSError as error:
            raise ConnectionLostError(str(error)) from None

    def close(self):
        for pipe in (self.process.stdin, self.process.stdout):
            pipe.close()
        self.process.wait(60)


class LocalPhone:
    """What a session asks of a phone, done by this computer in a folder."""

    def __init__(self, folder):
        self.folder, self.link = folder, self
        self.serial, self.started, self.away = "local", [], 0
        self.pushed = []
        self.names = f"OWN\n{FACTS.build}\n1\n"

    def run(self, words, **more):
        if words[:2] == ["sh", "-c"] and "getprop" in words[2]:
            return self._ended(self.names)
        done = subprocess.run(list(words), capture_output=True, text=True, check=False)
        status = done.returncode if done.returncode >= 0 else 128 - done.returncode
        return self._ended(done.stdout, done.stderr, status)

    def _ended(self, out, error="", status=0):
        return Ended(status, out, error)

    def push(self, content, path, mode=0o644):
        self.pushed.append(path)
        Path(path).write_bytes(content)
        Path(path).chmod(mode)

    def start(self, words):
        process = subprocess.Popen(
            list(words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.started.append(process)
        return LocalStream(process)

    def close(self):
        pass
