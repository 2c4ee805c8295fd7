"""A phone is as it was found after any end of what prepared it: 16 kinds of end at any moment.

A process of its own prepares a test phone (the real adbd, with answers that keep what is set), over
adb-shell and over a server in turn. It ends, or is ended, at a random moment of preparing,
measuring or putting back. Where it was killed, or the phone was away, the next start puts the phone
back; else it must be so at once.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from adb_phone import Phone
from free_port import free_port
from phone_profiles import PROFILES

from tests.fuzz.outcomes import BAD

KINDS = (
    "end",
    "exception",
    "SIGINT",
    "SIGINT amid a change",
    "SIGTERM",
    "SIGHUP",
    "SIGKILL",
    "SIGKILL amid a change",
    "SIGKILL, another computer",
    "SIGKILL, phone's journal lost",
    "SIGKILL and reboot",
    "reboot",
    "cable cut",
    "cable cut amid a change",
    "user's change, SIGTERM",
    "user's change, SIGKILL",
)
#: Ends after which a phone must be as it was without a next start.
AT_ONCE = {kind for kind in KINDS if not any(w in kind for w in ("SIGKILL", "reboot", "cable cut"))}
SETTING = "settings.global.stay_on_while_plugged_in"
VALUES = (None, "0", "1", "3", "7")
USERS_OWN = "5"
#: A guard against hangs in seconds, far above what a busy machine takes.
LONGEST_S = 120.0
CHILD = """
import sys, time
from functools import partial
from latprof.cli.signals import Ending

serial, own, way, fixed, seconds, end = sys.argv[1:7]
with Ending(is_program=True) as ending:
    from latprof.profilers.runtimes.android import phones, preparation
    from latprof.errors import LatprofError
    from latprof.profilers.runtimes.android.transport import adb_direct
    import adb_shell.auth.sign_pythonrsa, adb_shell.transport.tcp_transport
    if way == "direct":
        phones.adb_program = lambda: None
    ending.expect_files()
    print("started", flush=True)
    wanted = preparation.Preparation(True, fixed == "1")
    connect = partial(phones.open_phone, serial)
    note = partial(print, file=sys.stderr)
    try:
        with preparation.prepared_phone(connect, own, wanted, on_note=note):
            print("prepared", flush=True)
            time.sleep(float(seconds))
            if end == "exception":
                raise ValueError
    except (LatprofError, ValueError) as error:
        print(error, file=sys.stderr)
"""


def put_back(numbers, seed, folder):
    """End preparations, so often; yields what became of each."""
    home = folder / "home"
    home.mkdir()
    port = free_port()
    environment = os.environ | {
        "HOME": str(home),
        "XDG_STATE_HOME": str(home / "state"),
        "ANDROID_ADB_SERVER_PORT": str(port),
    }
    environment.pop("ADB_VENDOR_KEYS", None)
    adb = [shutil.which("adb") or "adb", "-P", str(port)]
    with Phone(PROFILES["pixel-6"], folder) as phone:
        try:
            for number in numbers:
                way = ("direct", "server")[number // len(KINDS) % 2]
                command = "start-server" if way == "server" else "kill-server"
                subprocess.run([*adb, command], env=environment, capture_output=True, check=False)
                kind = KINDS[number % len(KINDS)]
                chance = random.Random(f"{seed} {number}")
                found = one(phone, kind, way, environment, chance)
                name = f"{kind} ({way})"
                yield (name, BAD, f"{number} {name}: {found}") if found else (name, "restored", "")
        finally:
            subprocess.run([*adb, "kill-server"], env=environment, capture_output=True, check=False)


def one(phone, kind, way, environment, chance):
    """One preparation and its end; what is not as it should be, or nothing."""
    journals = Path(environment["XDG_STATE_HOME"]) / "latprof/phones"
    shutil.rmtree(journals, ignore_errors=True)
    before = set_up(phone, chance)
    amid = "amid" in kind
    if amid:
        set_up_slow(phone, before, "1" if kind in AT_ONCE else "4")
    end = "exception" if kind == "exception" else "end"
    users = kind.startswith("user")
    seconds = LONGEST_S if users else chance.uniform(0.0, 0.4)
    child = started(phone, way, environment, chance, (seconds, end))
    reached = read_line(child)  # "started"
    wants_prepared = users or (chance.random() < 0.5 and not amid)
    if wants_prepared:
        reached = read_line(child)  # "prepared", or its end
    if users and reached == "prepared":
        phone.answer(SETTING, f"{USERS_OWN}\n")
        before["setting"] = USERS_OWN
    while amid and not (phone.root / "answers/begun").exists() and child.poll() is None:
        time.sleep(0.01)
    if not amid:
        time.sleep(chance.uniform(0.0, 0.5 if wants_prepared else 0.8))
    disturb(phone, kind, child, journals)
    try:
        _, said = child.communicate(timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
        return "it does not end"
    phone.link.heal()
    if kind not in AT_ONCE and (failure := next_start(phone, way, environment)):
        return failure
    if amid:
        end_of_change(phone)
    found = compare(phone, before, rebooted="reboot" in kind)
    return f"{found}; it said {said[-600:]}" if found else ""


def set_up(phone, chance):
    """A phone as somebody may have left it."""
    shutil.rmtree(phone.root / "data/local/tmp/latprof", ignore_errors=True)
    before = {"setting": chance.choice(VALUES), "screen": chance.choice(("Awake", "Asleep"))}
    place = phone.root / "answers" / SETTING
    place.unlink(missing_ok=True)
    if before["setting"] is not None:
        place.write_text(f"{before['setting']}\n")
    power = phone.profile.answers()["answers/dumpsys.power"]
    phone.answer("dumpsys.power", power.replace("=Awake", f"={before['screen']}"))
    (phone.root / "answers/fixed-performance-mode").unlink(missing_ok=True)
    refusal = phone.root / "answers/no-fixed-performance-mode"
    refusal.unlink(missing_ok=True)
    if chance.random() < 0.1:
        refusal.write_text("")
    slow = phone.root / "answers/slow"
    slow.unlink(missing_ok=True)
    (phone.root / "answers/begun").unlink(missing_ok=True)
    if chance.random() < 0.5:
        slow.write_text("0.3")
    return before


def set_up_slow(phone, before, seconds):
    """A phone that has a setting to change, and takes so many seconds for it."""
    (phone.root / "answers" / SETTING).unlink(missing_ok=True)
    before["setting"] = None
    (phone.root / "answers/slow").write_text(seconds)


def end_of_change(phone):
    """Wait until the change has been made on the phone, or its command was ended."""
    for _ in range(1000):
        if not (phone.root / "answers/begun").exists():
            break
        time.sleep(0.01)
    time.sleep(0.1)


def started(phone, way, environment, chance, last):
    words = [phone.serial, phone.profile.serial, way, str(int(chance.random() < 0.7))]
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *words, *map(str, last)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_line(child):
    return child.stdout.readline().strip()


def disturb(phone, kind, child, journals):
    """What ends the preparation, where it does not end by itself."""
    if name := next((n for n in ("SIGKILL", "SIGINT", "SIGTERM", "SIGHUP") if n in kind), None):
        child.send_signal(getattr(signal, name))
        if name == "SIGKILL":
            child.wait()
    if "reboot" in kind:
        phone.reboot()
    if "cable cut" in kind:
        phone.link.cut()
    if "another computer" in kind:
        for path in journals.glob("*.json"):
            path.unlink()
    if "journal lost" in kind:
        shutil.rmtree(phone.root / "data/local/tmp/latprof", ignore_errors=True)


def next_start(phone, way, environment):
    """The next latprof of this phone; its complaint, or nothing."""
    code = (
        "import sys; from latprof.profilers.runtimes.android import phones\n"
        "if sys.argv[2] == 'direct': phones.adb_program = lambda: None\n"
        "from latprof.workflows.android import android; android('restore', sys.argv[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, phone.serial, way],
        env=environment,
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
    return done.stderr[-500:] if done.returncode else ""


def compare(phone, before, *, rebooted):
    """What is not as it was found."""
    wrong = []
    setting = phone.asked(SETTING).strip() or None
    if setting != before["setting"]:
        wrong.append(f"the setting is {setting}, was {before['setting']}")
    if phone.asked("fixed-performance-mode").strip() == "true":
        wrong.append("fixed-performance mode is on")
    screen = "Asleep" if "=Asleep" in phone.asked("dumpsys.power") else "Awake"
    if not rebooted and screen != before["screen"]:
        wrong.append(f"the screen is {screen}, was {before['screen']}")
    with contextlib.suppress(FileNotFoundError):
        left = {path.name for path in (phone.root / "data/local/tmp/latprof").iterdir()}
        if left - {"owner", "changing"}:
            wrong.append(f"left on the phone: {sorted(left)}")
    return "; ".join(wrong)
