"""Commands that get SIGINT or SIGTERM at any moment: their status, their time, what they leave."""

import os
import random
import signal
import subprocess
import sys
import time

import psutil
from command_line import LONGEST_S
from computed_store import fill_store

from tests.fuzz.outcomes import BAD

NETWORK = "proxyless:3,1,0,0,4,6,4,5,3,6,5,0,5,0,5,1,5,3,2,2,0"
COMMANDS = (
    f"predict {NETWORK} --pack a.pack",
    "lookup-table a.pack -o table.csv",
    "export lat.db --csv a.csv",
    "collect --space proxyless --resolution 64 -n 10 --store new.db",
    f"profile {NETWORK}",
    f"compare {NETWORK} {NETWORK}",
    "train lat.db -o b.pack",
    "transfer --from a.pack lat.db -o c.pack",
    "search --pack proxyless-cpu-ort1 --accuracy own:accuracy --limit-ms 6 --store s.db",
    "report lat.db -o report.html",
)
OUTPUTS = {"new.db", "a.csv", "b.pack", "c.pack", "table.csv", "s.db", "report.html"}
#: What a store's database has beside it while a process that was ended hard had it open.
OF_DATABASES = ("-wal", "-shm", "-journal")
START = "from latprof.cli.main import main; print('started', flush=True); main()"
#: On a quiet machine.
WITHIN_S = 2.0
#: Latest signal, in seconds: of a command that takes longer most is measuring.
LATEST_S = 4.0
MARK = "LATPROF_FUZZ_SIGNALS"


def interrupt(numbers, seed, folder):
    """Send signals to commands, so often; yields what became of each."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as of what a shell has in background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    place = folder / "place"
    place.mkdir()
    fill_store(place / "lat.db")
    (place / "own.py").write_text("def accuracy(found): return [0.5 for _ in found]\n")
    words = ["train", "lat.db", "-o", "a.pack", "--predictor", "linear", "--no-compare"]
    subprocess.run(
        [sys.executable, "-c", START, *words], cwd=place, check=True, capture_output=True
    )
    kept, durations = {path.name for path in place.iterdir()}, {}
    for number in numbers:
        chance = random.Random(f"{seed} {number}")
        spelled = COMMANDS[number % len(COMMANDS)]
        name = spelled.split()[0]
        kind = signal.SIGINT if number // len(COMMANDS) % 2 else signal.SIGTERM
        if name not in durations:  # of those that end by themselves soon
            durations[name] = min(duration(spelled, place), LATEST_S)
        delay_s = chance.uniform(0.0, durations[name])
        outcome = one(spelled, place, kind, delay_s, f"{os.getpid()} {number}", kept)
        yield f"{kind.name} {name}", *outcome
        for path in place.iterdir():
            if path.name in OUTPUTS and chance.random() < 0.5:
                path.unlink()  # begun anew, or gone on with


def started(spelled, place, mark):
    """A command in a process of its own, its temporary files in a folder beside it."""
    temporary = place.with_name("temporary")
    temporary.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-c", START, *spelled.split()],
        cwd=place,
        env=os.environ | {"TMPDIR": str(temporary), MARK: mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def duration(spelled, place):
    """Seconds that a command takes when nobody disturbs it."""
    begun = time.monotonic()
    with started(spelled, place, "duration") as process:
        try:
            process.communicate(timeout=LATEST_S)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.communicate(timeout=LONGEST_S)
    return time.monotonic() - begun


def one(spelled, place, kind, delay_s, mark, kept):
    """What became of one command: an outcome, and what to say of a bad one."""
    with started(spelled, place, mark) as process:
        process.stdout.readline()
        time.sleep(delay_s)
        process.send_signal(kind)
        sent = time.monotonic()
        try:
            _, errors = process.communicate(timeout=LONGEST_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return BAD, f"{spelled}: {kind.name} after {delay_s:.3f} s: it goes on"
    took_s = time.monotonic() - sent
    text = errors.decode(errors="replace")
    faults = []
    if process.returncode not in {128 + kind, 0, 1, 5}:  # it may have ended by itself
        faults.append(f"status {process.returncode}: {text[-300:]}")
    if "Traceback" in text or "Exception ignored" in text:
        faults.append(text[-1000:])
    if orphans := marked(mark):
        faults.append(f"orphans: {orphans}")
    litter = [path.name for path in place.with_name("temporary").iterdir()]
    for path in place.iterdir():
        known = {path.name.removesuffix(ending) for ending in ("", *OF_DATABASES)}
        if not known & (kept | OUTPUTS) and path.name != "__pycache__":
            litter.append(path.name)
    if litter:
        faults.append(f"litter: {litter}")
    if faults:
        return BAD, f"{spelled}: {kind.name} after {delay_s:.3f} s: {'; '.join(faults)}"
    if process.returncode != 128 + kind:
        return "had ended", ""
    return "ended" if took_s <= WITHIN_S else "ended after more than 2 s", ""


def marked(mark):
    """Processes that a command left: they have its variable."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline())[-120:])
        except psutil.Error:
            continue
    return found
