"""A signal at any moment: 128 + its number, no traceback, nothing left."""

import itertools
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from command_line import COMMAND, LONGEST_S

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

#: A command whose work is a given text, started as a console script starts one.
SCRIPT = """
import sys
print("first line", flush=True)
from latprof.cli.main import main
import latprof.cli.app
def run():
{work}
latprof.cli.app.run = run
main()
"""
BUSY = "print('ready', flush=True)"
WORKS = {
    "waits": f"{BUSY}\nimport time\ntime.sleep(1000)",
    "swallows every exception": f"""{BUSY}
while True:
    try:
        while True: pass
    except BaseException: pass""",
    "makes it an ImportError": f"""{BUSY}
try:
    while True: pass
except BaseException: raise ImportError('broken library') from None""",
    "loses it in a callback": f"""
class Callback:
    def __del__(self):
        {BUSY}
        while True: pass
made = Callback()
del made
import time
time.sleep(1000)""",
    "computes in C": f"{BUSY}\nimport hashlib\nhashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)",
    "reads from a pipe": f"{BUSY}\nimport os\nos.read(os.pipe()[0], 1)",
    "imports for ever": f"""
import sys
class Finder:
    def find_spec(self, *_):
        {BUSY}
        while True: pass
sys.meta_path.insert(0, Finder())
import endless""",
    "has hung threads": f"""
import threading, time
threading.Thread(target=time.sleep, args=(1000,)).start()
{BUSY}
time.sleep(1000)""",
    "has children and temporary files": f"""
import subprocess, tempfile, time
import psutil
from latprof.common.children.child import Child
child = Child({os.fspath(__file__)!r})
print(child.pid, *(each.pid for each in psutil.Process().children(recursive=True)), flush=True)
tempfile.mkstemp(), tempfile.mkdtemp()
{BUSY}
time.sleep(1000)""",
}


def started(work, folder, **options):
    text = SCRIPT.format(work="\n".join(f"    {line}" for line in work.splitlines()))
    return subprocess.Popen(
        [sys.executable, "-c", text],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(folder)},
        **options,
    )


#: Each work with one of two signals in turn, and the first with both: one handler has them.
ENDINGS = [
    *zip(WORKS, itertools.cycle([signal.SIGINT, signal.SIGTERM])),
    ("waits", signal.SIGTERM),
]


@pytest.mark.parametrize(("work", "number"), ENDINGS)
def test_work_of_any_kind_ends(tmp_path, work, number):
    with started(WORKS[work], tmp_path) as process:
        said = []
        for line in process.stdout:
            said.append(line.strip())
            if said[-1] == "ready":
                break
        process.send_signal(number)
        _, errors = process.communicate(timeout=LONGEST_S)
    assert process.returncode == 128 + number, errors
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors
    assert list(tmp_path.iterdir()) == []
    pids = [int(pid) for line in said[1:-1] for pid in line.split()]
    assert not any(map(psutil.pid_exists, pids))


#: Its loader does as C code that does not look for errors, and the grace is as good as endless.
FRAGILE_IMPORT = f"""
import ctypes, importlib.util, latprof.cli.signals, os, sys, time
class Loader:
    def find_spec(self, name, *_):
        return importlib.util.spec_from_loader(name, self) if name == "fragile" else None
    def create_module(self, _):
        return None
    def exec_module(self, _):
        try:
            {BUSY}
            os.read(0, 1)
        except BaseException:
            ctypes.string_at(0)
latprof.cli.signals.GRACE_S = 1e6
sys.meta_path.insert(0, Loader())
import fragile
time.sleep(1e6)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_interrupts_an_import_is_raised_when_it_is_over(tmp_path, number):
    """Amid the import of modules of C code, Python crashed."""
    with started(FRAGILE_IMPORT, tmp_path, stdin=subprocess.PIPE) as process:
        while process.stdout.readline().strip() != "ready":
            pass
        process.send_signal(number)
        try:
            _, errors = process.communicate("x", timeout=LONGEST_S)
        finally:
            process.kill()
    assert process.returncode == 128 + number, errors
    assert "Traceback" not in errors


#: As a pool of connections does that is interrupted while it closes one.
LOGGED = """
import logging, os, signal, time
from latprof.cli.signals import Ending
try:
    with Ending(is_program=False) as ending:
        ending.expect_files()
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        except KeyboardInterrupt:
            logging.getLogger("a library").error("cannot close", exc_info=True)
            raise
except SystemExit as leaving:
    assert leaving.code == 143
logging.getLogger("another").error("logged again")
"""


def test_nothing_is_logged_of_what_an_interrupt_breaks_off():
    done = subprocess.run(
        [sys.executable, "-c", LOGGED],
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=True,
    )
    assert done.stderr == "logged again\n"


HALF_LOGGING = """
import os, signal, sys, time, types
from latprof.cli.signals import Ending
with Ending(is_program=True) as ending:
    ending.expect_files()
    sys.modules["logging"] = types.ModuleType("logging")
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


def test_logging_that_is_half_imported_is_left_alone():
    done = subprocess.run(
        [sys.executable, "-c", HALF_LOGGING], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (143, "interrupted\n", "")


#: As they are while their import has only begun.
HALF_IMPORTED = """
import sys, types
from latprof.cli.signals import Ending
for name in ("latprof.common.files", "latprof.common.children.child"):
    sys.modules[name] = types.ModuleType(name)
with Ending(is_program=True):
    print("ready", flush=True)
    while True: pass
"""


def test_modules_that_are_half_imported_have_nothing_to_clean_up():
    with subprocess.Popen(
        [sys.executable, "-c", HALF_IMPORTED],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=LONGEST_S)
    assert (process.returncode, errors) == (143, "latprof: interrupted\n")


@pytest.fixture(scope="module")
def seconds_of_help():
    """What the command takes of which signals interrupt a share, about: any moment will do."""
    begun = time.monotonic()
    subprocess.run([*COMMAND, "predict", "--help"], capture_output=True, check=True)
    return time.monotonic() - begun


_ONE_BY_ONE = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


AMID_THE_FOLDER = """
import os, signal, time
from latprof.cli.signals import Ending
from latprof.common.children import owned_folders

make = owned_folders.OwnedFolder.make

def interrupted(folder):
    os.kill(os.getpid(), signal.SIGTERM)
    for _ in range(1000):
        pass
    make(folder)
    print("made", flush=True)

owned_folders.OwnedFolder.make = interrupted
with Ending(is_program=True) as ending:
    ending.expect_files()
    time.sleep(60)
"""


def test_nothing_is_left_of_a_folder_amid_whose_making_a_signal_came(tmp_path):
    """What tries whether files can be made there is a file that has to go again."""
    done = subprocess.run(
        [sys.executable, "-c", AMID_THE_FOLDER],
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        check=False,
    )
    assert (done.returncode, done.stdout) == (128 + signal.SIGTERM, "made\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("share", "number"),
    [*zip([0.0, 0.2, 0.5, 0.8, 0.1, 0.6], _ONE_BY_ONE * 2, strict=True)],
)
def test_from_the_first_line_on(tmp_path, seconds_of_help, number, share):
    """The imports of the command, interrupted at several moments of theirs."""
    text = (
        "print('first', flush=True)\nfrom latprof.cli.main import main\n"
        "print('main', flush=True)\nmain()"
    )
    command = [sys.executable, "-c", text, "predict", "--help"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    ) as process:
        assert process.stdout.readline() == "first\n"
        assert process.stdout.readline() == "main\n"
        time.sleep(0.002 + share * seconds_of_help)
        process.send_signal(number)
        _, errors = process.communicate(timeout=LONGEST_S)
    assert process.returncode in {128 + number, 0}  # 0: it was done
    assert errors.replace("latprof: interrupted\n", "") == ""
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_amid_the_first_imports_is_no_traceback():
    script = """
import os, signal, sys
class Finder:
    def find_spec(self, name, *_):
        if name == "latprof.cli.signals":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from latprof.cli.main import main
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.parametrize(
    "imported",
    ["__import__(name)", "t = Thread(target=__import__, args=[name]); t.start(); t.join()"],
)
def test_whoever_imports_the_command_keeps_its_interrupts(imported):
    script = f"""
import signal, sys
from threading import Thread
usual, name = signal.getsignal(signal.SIGINT), 'latprof.cli.main'
{imported}
assert name in sys.modules
assert signal.getsignal(signal.SIGINT) is usual
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_ignored_stays_ignored(tmp_path):
    def ignore():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    work = f"{BUSY}\nimport time\ntime.sleep(0.5)\nprint('done')"
    with started(work, tmp_path, preexec_fn=ignore) as process:
        while process.stdout.readline().strip() != "ready":
            pass
        process.send_signal(signal.SIGHUP)
        out, _ = process.communicate(timeout=LONGEST_S)
    assert (process.returncode, out) == (0, "done\n")


def test_what_a_caller_had_is_given_back(latprof):
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)], sys.unraisablehook
    assert latprof("--version").returncode == 0
    assert before == (
        [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)],
        sys.unraisablehook,
    )


if __name__ == "__main__":  # the child of a work above
    time.sleep(1000)
