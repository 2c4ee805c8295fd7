"""Runtime libraries: what is taken, what is refused and how it is said, and downloads."""

import contextlib
import hashlib
import http.server
import io
import struct
import threading
import time
import zipfile

import pytest

import latprof
from latprof.errors import (
    DeviceError,
    InputFileError,
    InvalidValueError,
    LatprofError,
    MeasurementTimeoutError,
)
from latprof.profilers.runtimes.android.libraries.downloading import download
from latprof.profilers.runtimes.android.libraries.library_file import read_library
from latprof.profilers.runtimes.android.library import remembered_libraries, remembered_library
from latprof.profilers.runtimes.android.runner.runner_client import runner_program

ARM64, X86_64, ARM32 = (2, 183), (2, 62), (1, 40)
LITERT = (b"LiteRtCreateEnvironment", b"LiteRtCreateModelFromFd", b"LiteRtRunCompiledModel")
TFLITE = (b"TfLiteModelCreate", b"TfLiteInterpreterInvoke", b"TfLiteTensorData")
ORT = (b"OrtGetApiBase", b"VERS_1.22.0")
PROGRAM = runner_program("arm64-android").read_bytes()


def library(machine=ARM64, names=LITERT, *, level=0, linux=False):
    """As much of a shared library as is read."""
    bits, number = machine
    header = b"\x7fELF" + bytes([bits, 1]) + bytes(10) + struct.pack("<HH", 3, number)
    note = (
        struct.pack("<III", 8, 132, 1) + b"Android\0" + struct.pack("<I", level) if level else b""
    )
    needed = b"libc.so.6" if linux else b"libc.so"
    return header + bytes(64) + note + b"\0" + b"\0".join((*names, needed)) + b"\0"


def archive(**files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name, content in files.items():
            made.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.mark.parametrize(
    ("names", "api"), [(LITERT, "litert"), (TFLITE, "tflite"), (ORT, "onnxruntime")]
)
def test_a_library_is_known_by_its_functions(names, api):
    found = read_library(library(names=names, level=26), "x/lib.so")
    assert (found.name, found.abi, found.system) == ("lib.so", "arm64-v8a", "Android")
    assert (found.api, found.least_sdk) == (api, 26)


def test_the_library_for_64_bits_is_taken_of_an_aar():
    content = archive(
        **{
            "jni__armeabi-v7a__libLiteRt.so": library(ARM32),
            "jni__arm64-v8a__libtensorflowlite_jni.so": library(names=TFLITE),
            "jni__arm64-v8a__libLiteRt.so": library(),
            "jni__arm64-v8a__libother.so": library(names=(b"x",)),
            "classes.jar": b"",
        }
    )
    found = read_library(content, "litert.aar")
    assert (found.name, found.abi, found.api) == ("libLiteRt.so", "arm64-v8a", "litert")


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (library(ARM32), DeviceError, "has no library for this ABI .*armeabi-v7a"),
        (library(linux=True), DeviceError, "built for Linux"),
        (library(names=LITERT[:1]), InputFileError, "too old .*LiteRT 2.1.6 or later"),
        (library(names=TFLITE[:1]), InputFileError, "too old"),
        (library(names=(*ORT[:1], b"VERS_1.6.0")), InputFileError, "too old .*1.7"),
        (library(names=(b"puts",)), InputFileError, "none of LiteRT, TFLite or ONNX Runtime"),
        (b"<html>not found</html>", InputFileError, "is not a library .*a web page"),
        (b"", InputFileError, "is not a library"),
        (archive(**{"a.txt": b"x"}), InputFileError, "holds no LiteRT"),
        (archive(**{"a.so": library(ARM32)}), DeviceError, "no library for this ABI"),
        (archive(**{"a.so": library()})[:150], InputFileError, "damaged zip file.*fetch it again"),
        (PROGRAM[:20_000], InputFileError, "is cut off; fetch it again, whole"),
    ],
)
def test_what_is_no_library_for_phones_is_refused_in_one_line(content, kind, words):
    with pytest.raises(kind, match=words) as caught:
        read_library(content, "given")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", range(0, 160, 7))
def test_a_damaged_library_is_read_or_refused(cut):
    whole = library(level=26)
    for content in (whole[:cut], whole[:cut] + b"\xff" + whole[cut + 1 :]):
        with contextlib.suppress(InputFileError, DeviceError):
            assert read_library(content, "given").abi in {"arm64-v8a", "x86_64"}


def test_a_library_is_remembered_with_its_digest(tmp_path):
    place = tmp_path / "libLiteRt.so"
    place.write_bytes(library(level=26))
    taken = latprof.android("setup", place).library
    assert taken.sha256 == hashlib.sha256(place.read_bytes()).hexdigest()
    assert taken.size_bytes == place.stat().st_size
    assert remembered_library("litert", ["arm64-v8a", "armeabi-v7a"], 34) == taken
    assert remembered_libraries() == [taken]
    other = library(names=TFLITE)
    place.write_bytes(other)
    latprof.android("setup", place)
    assert remembered_library("litert", ["arm64-v8a"]).api == "tflite"
    assert len(list(taken.path.parent.glob("*.so"))) == 1


@pytest.mark.parametrize(
    ("runtime", "abis", "sdk", "words"),
    [
        ("onnxruntime", ["arm64-v8a"], 34, "no onnxruntime library for phones.*android setup"),
        ("litert", ["x86_64"], 34, "this phone's ABI .*x86_64, got arm64-v8a"),
        ("litert", ["arm64-v8a"], 24, "Android is too old .*level 26.*level 24"),
    ],
)
def test_a_phone_without_a_fitting_library(tmp_path, runtime, abis, sdk, words):
    place = tmp_path / "lib.so"
    place.write_bytes(library(level=26))
    latprof.android("setup", place)
    with pytest.raises(DeviceError, match=words):
        remembered_library(runtime, abis, sdk)


def test_a_kept_library_that_was_changed_is_refused(tmp_path):
    place = tmp_path / "lib.so"
    place.write_bytes(library())
    taken = latprof.android("setup", place).library
    taken.path.write_bytes(b"other")
    with pytest.raises(InputFileError, match="not the library that was taken"):
        remembered_library("litert", ["arm64-v8a"])
    assert remembered_libraries() == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"runtime": "tvm"}, "no such runtime"),
        ({"abi": "mips"}, "no such abi"),
        ({"sha256": "12"}, "not a SHA-256"),
        ({"runtime": "onnxruntime"}, "no library of this runtime"),
        ({"sha256": "0" * 64}, "not the file that was meant"),
    ],
)
def test_wrong_words_are_refused(tmp_path, options, words):
    place = tmp_path / "lib.so"
    place.write_bytes(library())
    with pytest.raises(LatprofError, match=words):
        latprof.android("setup", place, **options)
    assert remembered_libraries() == []


# Downloads -------------------------------------------------------------------------------------


class _Server(http.server.BaseHTTPRequestHandler):
    content = library()

    def do_GET(self):
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd")
            self.end_headers()
            return
        if self.path == "/none":
            self.send_error(404)
            return
        self.send_response(200)
        length = {"/short": len(self.content) + 5, "/large": 1 << 40}.get(self.path)
        self.send_header("Content-Length", str(length or len(self.content)))
        self.end_headers()
        if self.path == "/slow":
            for byte in self.content:
                self.wfile.write(bytes([byte]))
                time.sleep(0.05)
        else:
            self.wfile.write(self.content)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


DIGEST = hashlib.sha256(_Server.content).hexdigest()


def fetch(url, *, sha256=DIGEST, most_bytes=1 << 20, timeout_s=60.0):
    return download(url, sha256=sha256, most_bytes=most_bytes, timeout_s=timeout_s)


def test_a_library_is_fetched(address):
    seen = []
    taken = latprof.android(
        "setup", f"{address}/lib.so?secret", sha256=DIGEST, on_progress=lambda *n: seen.append(n)
    ).library
    assert (taken.sha256, taken.source) == (DIGEST, f"{address}/lib.so")
    assert seen[-1] == (len(_Server.content), len(_Server.content))


@pytest.mark.parametrize(
    ("path", "options", "kind", "words"),
    [
        ("/none", {}, InputFileError, "HTTP 404"),
        ("/short", {}, InputFileError, "broke off after"),
        ("/large", {}, InputFileError, "too large"),
        ("/a", {"most_bytes": 50}, InputFileError, "too large"),
        ("/a", {"sha256": "0" * 64}, InputFileError, "not the file that was meant"),
        ("/a", {"sha256": None}, InvalidValueError, "https://"),
        ("/away", {}, InputFileError, "is not allowed"),
        ("/slow", {"timeout_s": 0.3}, MeasurementTimeoutError, "did not come within 0.3 s"),
    ],
)
def test_what_cannot_be_fetched_is_said_in_one_line(address, path, options, kind, words):
    with pytest.raises(kind, match=words):
        fetch(address + path, **options)


@pytest.mark.parametrize("url", ["https://me:hush@h:x/a", "https://[::1/x?hush", "x://me:hush@h"])
def test_no_password_of_an_address_is_printed(url):
    with pytest.raises(InvalidValueError, match="not an address") as refused:
        latprof.android("setup", url)
    assert "hush" not in str(refused.value)


def test_nobody_there():
    with pytest.raises(InputFileError, match=r"cannot be fetched.*give its path"):
        fetch("http://127.0.0.1:9/lib.so")
