"""The host's side of the protocol: what it makes of answers, good, strange and absent ones."""

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runners import a_runner, onnxruntime

from latprof.errors import (
    DeviceError,
    InvalidValueError,
    LatprofError,
    MeasurementTimeoutError,
    RuntimeFailedError,
)
from latprof.profilers.runtimes.android.runner.runner_client import (
    RunnerClient,
    RunnerTimeouts,
    runner_program,
)
from latprof.profilers.runtimes.android.runner.runner_lines import (
    MOST_REQUEST_BYTES,
    decoded,
    read_answer,
    request_line,
)
from latprof.testing import FakeRunner


class Scripted:
    """A stream that says what it is told, whatever it is asked."""

    def __init__(self, *said):
        self._said = list(said)
        self.written = b""

    def write(self, content, timeout_s):
        self.written += content

    def read_line(self, timeout_s, most):
        line = self._said.pop(0) if self._said else EOFError()
        if isinstance(line, BaseException):
            raise line
        return line


def sealed(body):
    return body + b" #%08x" % zlib.crc32(body)


HELLO = sealed(b"0 hello protocol=1 runner=1 abi=arm64-android pid=7 cores=0,1,2 on=0")


def asked(*answers):
    return RunnerClient(Scripted(HELLO, *answers))


def test_the_greeting_is_read():
    greeting = asked().greeting
    assert (greeting.abi, greeting.pid, greeting.cores) == ("arm64-android", 7, (0, 1, 2))


WARNING = b"WARNING: linker: /data/local/tmp/latprof/runner: unsupported flags DT_FLAGS_1=0x8000001"


def test_what_androids_linker_says_before_the_greeting_is_passed_over():
    assert RunnerClient(Scripted(WARNING, WARNING + b"\r", HELLO)).greeting.pid == 7


@pytest.mark.parametrize(
    "line",
    [
        b"/system/bin/sh: /data/local/tmp/latprof/runner: Permission denied",
        b'CANNOT LINK EXECUTABLE "x": library "libdl.so" not found',
    ],
)
def test_why_a_runner_does_not_start_is_said(line):
    with pytest.raises(DeviceError) as error:
        RunnerClient(Scripted(WARNING, line))
    assert line.decode() in str(error.value)
    assert error.value.field == "no-start"


LOADED = b"2 ok bytes=1 skeleton=0 read_ns=1 load_ns=1 rss_kb=1 peak_kb=1 inputs= outputs="


def test_what_is_dropped_goes_with_the_next_load():
    said = Scripted(HELLO, sealed(b"1 ok"), sealed(LOADED), sealed(b"3 ok"))
    client = RunnerClient(said)
    assert client.load(5, "x", dropping=[4]).number == 5
    assert [line.split()[1] for line in said.written.splitlines()] == [b"unload", b"load"]
    client.unload(5)


def test_what_cannot_be_dropped_ends_the_conversation():
    client = asked(sealed(b"1 err code=not-loaded text=no"), sealed(LOADED))
    with pytest.raises(DeviceError, match="no"):
        client.load(5, "x", dropping=[4])
    with pytest.raises(RuntimeFailedError, match="cannot be asked any more"):
        client.conditions()


def test_a_cycle_that_fails_leaves_the_answer_after_it_to_nobody():
    """Its conditions come all the same; the next request gets its own answer."""
    client = asked(sealed(b"1 err code=failed text=no"), sealed(b"2 ok"), sealed(b"3 ok"))
    with pytest.raises(RuntimeFailedError, match="no"):
        client.run_cycle([(0, 1)])
    client.unload(0)
    client = asked(sealed(b"1 err code=deadline text=late"))
    with pytest.raises(MeasurementTimeoutError, match="late"):
        client.run_cycle([(0, 1)])


def test_a_model_that_is_loaded_and_does_not_run_is_loaded():
    said = Scripted(
        HELLO, sealed(LOADED.replace(b"2 ok", b"1 ok")), sealed(b"2 err code=failed text=no")
    )
    client = RunnerClient(said)
    model, why = client.load_and_run(5, "x", [1, 1])
    assert model.number == 5
    assert isinstance(why, RuntimeFailedError)
    assert b"bursts=5x1%2c5x1" in said.written or b"bursts=5x1,5x1" in said.written


def test_another_protocol_is_refused():
    with pytest.raises(DeviceError, match="another version of the protocol"):
        RunnerClient(Scripted(sealed(b"0 hello protocol=2 abi=a pid=1 cores=")))


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (TimeoutError(), MeasurementTimeoutError),
        (EOFError(), RuntimeFailedError),
        (BrokenPipeError(), RuntimeFailedError),
        (ValueError("too long"), RuntimeFailedError),
        (b"", RuntimeFailedError),
        (HELLO[:-1], RuntimeFailedError),
        (sealed(b"1 ok"), RuntimeFailedError),
        (b"Segmentation fault", DeviceError),
        (b"\x00\xff noise", RuntimeFailedError),
    ],
)
def test_a_bad_greeting_is_an_error(line, error):
    with pytest.raises(error):
        RunnerClient(Scripted(line))


@pytest.mark.parametrize(
    "answer",
    [
        sealed(b"2 ok rss_kb=1 peak_kb=1"),  # another request's
        sealed(b"1 hello rss_kb=1"),
        sealed(b"1 ok a=1 a=1"),
        sealed(b"1 ok a"),
        sealed("1 ok a=é".encode()),
        sealed(b"1 ok rss_kb=1 peak_kb=1")[:-1] + b"x",
        TimeoutError(),
        EOFError(),
    ],
)
def test_after_a_line_that_is_none_nothing_more_is_asked(answer):
    client = asked(answer, sealed(b"2 ok"))
    with pytest.raises((RuntimeFailedError, MeasurementTimeoutError)):
        client.unload(0)
    with pytest.raises(RuntimeFailedError, match="cannot be asked any more"):
        client.unload(0)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        (b"", "without"),
        (b"start_ns=1 end_ns=2 runs=1:1:0:0 clocks=0:1:1 rss_kb=1 peak_kb=1", "other bursts"),
        (b"start_ns=1 end_ns=2 runs=1:1:0:0;0:1:0:0 clocks=0:1:1,0:1:1 rss_kb=1 peak_kb=1", "run"),
        (b"start_ns=1 end_ns=2 runs=1:1:0:0;1:1:0 clocks=0:1:1,0:1:1 rss_kb=1 peak_kb=1", "run"),
        (b"start_ns=1 end_ns=2 runs=1:1:0:0;1:x:0:0 clocks=0:1:1,0:1:1 rss_kb=1 peak_kb=1", "num"),
        (b"start_ns=1 end_ns=2 runs=1:1:0:0;1:1:0:0 clocks=0:1,0:1:1 rss_kb=1 peak_kb=1", "other"),
    ],
)
def test_a_plan_answered_in_part_is_no_measurement(fields, match):
    client = asked(sealed(b"1 ok " + fields if fields else b"1 ok"))
    with pytest.raises(RuntimeFailedError, match=match):
        client.run_plan([(0, 1), (1, 1)])


def test_refusals_carry_the_code_and_a_remedy():
    client = asked(sealed(b"1 err code=old-library text=LiteRT%20is%20old"))
    with pytest.raises(DeviceError, match=r"LiteRT is old.*2\.1\.6") as error:
        client.open_library("x.so")
    assert error.value.field == "old-library"


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=()), max_size=200))
def test_every_text_arrives_as_it_was(text):
    """Surrogates stand for the bytes of file names that are no UTF-8; others cannot be sent."""
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return
    line = request_line(3, "open", {"path": text, "sha256": None})
    answer = read_answer(line.removesuffix(b"\n"))
    assert line.count(b"\n") == 1
    assert answer.kind == "open"
    expected = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    assert decoded(answer.fields["path"]) == expected


def test_requests_are_bounded():
    with pytest.raises(InvalidValueError, match="too long"):
        request_line(1, "open", {"path": "x" * MOST_REQUEST_BYTES})
    with pytest.raises(InvalidValueError, match="zero byte"):
        request_line(1, "open", {"path": "x\0y"})


ASKED = [
    lambda client: client.open_library("x"),
    lambda client: client.load(0, "x"),
    lambda client: client.run_plan([(0, 2), (1, 1)]),
    lambda client: client.kernels(0, 2),
    lambda client: client.profile_file(0, 2),
    lambda client: client.output(0, first_bytes=8),
    lambda client: client.set_affinity([1]),
    lambda client: client.conditions(),
]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(ASKED),
    st.lists(
        st.tuples(
            st.sampled_from(
                "api version bytes skeleton read_ns load_ns rss_kb peak_kb inputs outputs runs "
                "clocks events file data output sha256 cores load now_ns available_kb start_ns "
                "end_ns".split()
            ),
            st.one_of(
                st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12),
                st.from_regex(r"\A[0-9:;,x|%a-f-]{0,20}\Z"),
            ),
        ),
        max_size=24,
    ),
)
def test_any_well_formed_answer_is_a_record_or_an_error_of_ours(ask, fields):
    body = " ".join(["1 ok", *(f"{name}={value}" for name, value in dict(fields).items())])
    try:
        ask(asked(sealed(body.encode())))
    except LatprofError:
        return


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_an_error_of_ours(line):
    for given_line in (line, sealed(line)):
        try:
            read_answer(given_line)
        except RuntimeFailedError:
            continue


def test_there_is_a_program_for_each_abi_and_no_other():
    assert runner_program("arm64-android").is_file()
    with pytest.raises(InvalidValueError, match="x86_64-linux"):
        runner_program("arm-android")
    with pytest.raises(InvalidValueError):
        RunnerTimeouts(plan_s=0)


# ---- the fake is as the real one ----


def conversation(client, path):
    """What is asked of both; the parts of the answers that do not depend on the device."""
    said = []
    for ask in [
        lambda: client.load(0, path),
        lambda: client.load(0, path, sha256="0" * 64),
        lambda: client.run_plan([(0, 2), (0, 1)]),
        lambda: client.run_plan([(1, 2)]),
        lambda: client.run_cycle([(0, 1), (0, 2)]),
        lambda: client.run_cycle([(1, 1)]),
        lambda: client.output(0, first_bytes=4),
        lambda: client.output(1),
        lambda: client.set_affinity(client.greeting.cores[:1]),
        client.conditions,
        lambda: client.load(2, path, dropping=[0]),
        lambda: client.load(0, path, dropping=[2]),
        lambda: [type(each).__name__ for each in client.load_and_run(3, path, [1, 2])],
        lambda: client.load_and_run(4, path, [1, 1], sha256="0" * 64),
        lambda: client.load_and_run(3, path, [1], dropping=[3]),
        lambda: client.unload(0),
        lambda: client.unload(0),
    ]:
        try:
            found = ask()
            said.append(found if isinstance(found, list) else type(found).__name__)
        except LatprofError as error:
            said.append((type(error).__name__, error.field))
    return said


def test_the_fake_answers_as_the_real_runner(tmp_path):
    from tvm_networks import small_network

    network = small_network()
    path = tmp_path / "model.onnx"
    path.write_bytes(network if isinstance(network, bytes) else network.SerializeToString())
    fake = RunnerClient(FakeRunner(lambda _: 1.5))
    fake.open_library("libLiteRt.so")
    with a_runner(onnxruntime()) as real:
        assert conversation(fake, str(path)) == conversation(real, str(path))


def test_the_fake_has_the_times_it_is_told():
    client = RunnerClient(FakeRunner({"a": 2.0, "b": 0.5}.get))
    client.open_library("libLiteRt.so")
    client.load(0, "a")
    client.load(1, "b")
    result = client.run_plan([(0, 2), (1, 3)])
    times = [[run.wall_ns for run in burst.runs] for burst in result.bursts]
    assert times == [[2_000_000] * 2, [500_000] * 3]
    assert result.end_ns - result.start_ns == 5_500_000
    assert len(client.kernels(1, 2)) == 2


@pytest.mark.parametrize("error", [EOFError, TimeoutError])
def test_the_fake_is_disturbed_as_told(error):
    count = iter(range(100))

    def cut(line):
        if next(count) == 2:
            raise error
        return line

    client = RunnerClient(FakeRunner(lambda _: 1.0, cut))
    client.open_library("x")
    with pytest.raises((RuntimeFailedError, MeasurementTimeoutError)):
        client.conditions()
