"""A runner that computes its times: the protocol's other side without a program or a library.

It answers a RunnerClient's requests line by line, as the real one does;
``tests/profilers/runtimes/android`` holds the two together.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote

_NS = 1_000_000


class FakeRunner:
    """Carries lines to itself; a run takes what ``latency_ms`` says, on core 0 at 1 GHz.

    Parameters
    ----------
    latency_ms : callable
        From a model's path to the milliseconds of its runs.
    disturb : callable, optional
        What becomes of an answer on its way: from its bytes, without the line's end, to other
        bytes, or an exception of a stream's (EOFError, TimeoutError) that it raises.
    """

    def __init__(
        self,
        latency_ms: Callable[[str], float],
        disturb: Callable[[bytes], bytes] = lambda line: line,
    ) -> None:
        self._latency_ms, self._disturb = latency_ms, disturb
        self._models: dict[int, str] = {}
        self._library = ""
        self._cores = "0,1"
        self._now_ns = 1_000_000_000
        self._answers = [
            _line(0, "hello", protocol=1, runner=1, abi="x86_64-linux", pid=1, cores="0,1", on=0)
        ]

    def write(self, content: bytes, timeout_s: float) -> None:  # noqa: ARG002 - of the contract
        for line in content.splitlines():
            self._answers.append(self._answer(line))

    def read_line(self, timeout_s: float, most: int) -> bytes:  # noqa: ARG002
        if not self._answers:
            raise TimeoutError
        return self._disturb(self._answers.pop(0))

    def _answer(self, line: bytes) -> bytes:
        body, _, checksum = line.rpartition(b" #")
        if checksum != b"%08x" % zlib.crc32(body):
            return _refusal(0, "garbled", "the checksum does not fit")
        number, verb, *words = body.decode().split(" ")
        fields = {name: unquote(value) for name, _, value in (w.partition("=") for w in words)}
        carry_out = getattr(self, f"_do_{verb}", None)
        if carry_out is None:
            return _refusal(int(number), "unknown-request", f"there is no request {verb}")
        if verb in {"unload", "kernels", "output"} and int(fields["model"]) not in self._models:
            return _refusal(int(number), "not-loaded", f"no model {fields['model']} is loaded")
        found: Mapping[str, object] | tuple[str, str] = carry_out(fields)
        if isinstance(found, tuple):
            return _refusal(int(number), *found)
        return _line(int(number), "ok", **found)

    def _do_open(self, fields: Mapping[str, str]) -> Mapping[str, object] | tuple[str, str]:
        if self._library:
            return ("bad-value", "a library is open already")
        self._library = fields["path"]
        return {"api": "litert", "version": ""}

    def _do_load(self, fields: Mapping[str, str]) -> Mapping[str, object] | tuple[str, str]:
        if not self._library:
            return ("no-library", "no library is open")
        model, path = int(fields["model"]), fields["path"]
        if model in self._models:
            return ("bad-value", f"model {model} is loaded already")
        content = Path(path).read_bytes() if Path(path).is_file() else b""
        if "sha256" in fields and sha256(content).hexdigest() != fields["sha256"]:
            return ("wrong-hash", f"{path} has another SHA-256")
        self._models[model] = path
        tensor = "x:float32:1x4"
        return {
            "bytes": len(content),
            "skeleton": 0,
            "read_ns": 1,
            "load_ns": 1,
            **_memory(),
            "inputs": tensor,
            "outputs": tensor,
        }

    def _do_unload(self, fields: Mapping[str, str]) -> Mapping[str, object]:
        del self._models[int(fields["model"])]
        return _memory()

    def _do_input(self, _fields: Mapping[str, str]) -> Mapping[str, object]:
        return {}

    def _do_plan(self, fields: Mapping[str, str]) -> Mapping[str, object] | tuple[str, str]:
        start, bursts = self._now_ns, []
        planned = [tuple(map(int, burst.split("x"))) for burst in fields["bursts"].split(",")]
        for model, runs in planned:
            if model not in self._models:
                return ("not-loaded", f"no model {model} is loaded")
            time_ns = round(self._latency_ms(self._models[model]) * _NS)
            self._now_ns += time_ns * runs
            bursts.append(",".join([f"{time_ns}:{time_ns}:0:{self._cores.split(',')[0]}"] * runs))
        state = f"{self._cores.split(',')[0]}:1000000:1000000"
        return {
            "start_ns": start,
            "end_ns": self._now_ns,
            "runs": ";".join(bursts),
            "clocks": ",".join([state] * len(planned)),
            **_memory(),
        }

    def _do_kernels(self, fields: Mapping[str, str]) -> Mapping[str, object]:
        time_us = round(self._latency_ms(self._models[int(fields["model"])]) * 1000)
        return {"events": ";".join([f"8:{time_us}:0:Convolution"] * int(fields["runs"]))}

    def _do_output(self, fields: Mapping[str, str]) -> Mapping[str, object]:
        data = bytes(16)
        return {
            "sha256": sha256(data).hexdigest(),
            "bytes": 16,
            "output": "x:float32:1x4",
            "data": data[: int(fields["bytes"])].hex(),
        }

    def _do_affinity(self, fields: Mapping[str, str]) -> Mapping[str, object]:
        self._cores = fields["cores"]
        return {"cores": self._cores, "on": self._cores.split(",")[0]}

    def _do_conditions(self, _fields: Mapping[str, str]) -> Mapping[str, object]:
        return {
            "now_ns": self._now_ns,
            "available_kb": 1_000_000,
            "load": "0.00",
            "clocks": "0:1000000:1000000:300000:1000000",
            "cores": self._cores,
            **_memory(),
        }


def _memory() -> dict[str, object]:
    return {"rss_kb": 1000, "peak_kb": 1000}


def _refusal(number: int, code: str, text: str) -> bytes:
    return _line(number, "err", code=code, text=text.replace(" ", "%20"))


def _line(number: int, kind: str, **fields: object) -> bytes:
    body = " ".join([f"{number} {kind}", *(f"{k}={v}" for k, v in fields.items())]).encode()
    return body + b" #%08x" % zlib.crc32(body)
