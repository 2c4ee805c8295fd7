"""Settings that make a phone's timings steady, made for as long as it is measured.

Each change is in a journal (:mod:`~latprof.profilers.runtimes.android.journal`) before it is made.
It is undone in reverse at the end, or at the next start where a process or the phone was killed;
what is no longer as it was written was changed by the user, and is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from latprof.common.endings import needs_time_to_end, run_to_its_end
from latprof.errors import DeviceError, DeviceOfflineError, LatprofError
from latprof.profilers.runtimes.android.answers import ask_all
from latprof.profilers.runtimes.android.journal import Change, Journal
from latprof.profilers.runtimes.android.owner import WAIT_S, WORK_FOLDER, owned

if TYPE_CHECKING:
    from latprof.profilers.runtimes.android.transport.services import PhoneServices

OnNote = Callable[[str], None]
#: How long putting a phone back may take after a signal.
_RESTORE_S = 15.0
#: Mains and USB of android.os.BatteryManager.BATTERY_PLUGGED_*: a charging pad heats.
_STAY_ON = "3"
_STAY_ON_SETTING = "stay_on_while_plugged_in"
_REFUSED = "refused"
_TO_ALLOW = "on Xiaomi: Developer options, `USB debugging (Security settings)`"
_FIXED = ["cmd", "power", "set-fixed-performance-mode-enabled"]
#: Runs its arguments when no other is at it: a command continues when its cable is cut. The lock is
#: on the shell's stderr, as some shells hand on no other descriptor.
_IN_TURN = f'mkdir -p {WORK_FOLDER}; {{ flock 2; "$@" 2>&1; }} 2>{WORK_FOLDER}/changing'
#: android.view.KeyEvent: KEYCODE_SLEEP and KEYCODE_WAKEUP, which do nothing where it is so already.
_SLEEP, _WAKE_UP = "223", "224"


@dataclass(frozen=True)
class Preparation:
    """What is changed on a phone while it is measured.

    Parameters
    ----------
    stay_awake : bool
        The screen is on, and stays so while a cable powers the phone.
    fixed_performance : bool
        Android's fixed-performance mode (Android 11 and later): lower and steadier clocks.
    """

    stay_awake: bool = True
    fixed_performance: bool = False


@contextmanager
def prepared_phone(
    connect: Callable[[], PhoneServices],
    serial: str,
    preparation: Preparation | None = None,
    *,
    wait_s: float = WAIT_S,
    on_note: OnNote | None = None,
) -> Iterator[None]:
    """Own a phone and prepare it, as long as the context lasts; then it is as it was found.

    What an earlier process could not undo is undone first.

    Parameters
    ----------
    connect : callable
        Makes a connection to the phone: at the start, and anew at the end where the first broke.
    serial : str
        The phone's ``ro.serialno``.
    preparation : Preparation, optional
    wait_s : float
        How long another owner's end is waited for.
    on_note : callable, optional
        Called with what a user should know.

    Raises
    ------
    DeviceError
        Where another latprof has the phone, or the phone refuses a change.
    ConnectionLostError, MeasurementTimeoutError, ...
        As ``connect`` and :class:`PhoneServices` do; at the end a note is given instead, and the
        next start undoes what is left.
    """
    services = connect()
    try:
        with (
            owned(services, serial, wait_s=wait_s, on_note=on_note),
            needs_time_to_end(_RESTORE_S),
        ):
            putting_back = _PuttingBack(services, connect, serial, on_note)
            try:
                try:
                    journal = Journal(services, serial)
                    restore(services, journal, on_note)
                    prepare(services, journal, preparation or Preparation(), on_note)
                    if services.link.is_exclusive:
                        services.link.close()
                    yield
                finally:
                    putting_back.run()
            except KeyboardInterrupt:
                putting_back.run()  # where the interrupt came while it was run
                raise
    finally:
        with suppress(LatprofError, OSError):
            services.link.close()


def prepare(
    services: PhoneServices,
    journal: Journal,
    preparation: Preparation,
    on_note: OnNote | None = None,
) -> None:
    """Make the changes of a preparation that are not so already, each journalled first.

    A phone that does not let its screen be kept on is measured all the same, and a note says so.
    """
    now = _look(services)
    boot = now["boot"]

    def make(change: Change, words: list[str]) -> str:
        """Make a change; why the phone refuses it, which is no change then."""
        return run_to_its_end(partial(make_it, change, words))

    def make_it(change: Change, words: list[str]) -> str:
        journal.add(change)
        try:
            _run(services, words)
        except DeviceError as error:
            if error.field != _REFUSED:
                raise
            journal.drop(change)
            return error.problem
        return ""

    refused = ""
    if preparation.stay_awake and not _stays_on(_told(services, now, "stay on")):
        change = Change("setting", _STAY_ON_SETTING, now["stay on"], _STAY_ON, boot)
        refused = make(change, ["settings", "put", "global", _STAY_ON_SETTING, _STAY_ON])
    if preparation.stay_awake and now["screen"] in {"Asleep", "Dozing", "Dreaming"}:
        change = Change("screen", "wakefulness", now["screen"], "Awake", boot)
        refused = make(change, ["input", "keyevent", _WAKE_UP]) or refused
    if refused and on_note is not None:
        on_note(f"{refused}: keep its screen on yourself, or allow it ({_TO_ALLOW})")
    if preparation.fixed_performance:
        change = Change("fixed-performance", "mode", "false", "true", boot)
        if refused := make(change, [*_FIXED, "true"]):
            raise DeviceError(
                f"{services.link.serial} has no fixed-performance mode",
                field="mode",
                expected="Android 11 or later",
                got=refused,
                hint="leave the word fixed-performance out of --mode",
            )


def _stays_on(value: str) -> bool:
    """Whether a phone with this setting stays on where a computer powers it."""
    wanted = int(_STAY_ON)
    return value.isascii() and value.isdigit() and int(value) & wanted == wanted


def prepare_again(services: PhoneServices, serial: str, preparation: Preparation) -> None:
    """Make what a reboot has undone of a preparation, for whoever owns the phone.

    Nothing where the phone has not started anew. Raises as :func:`prepare`.
    """
    journal = Journal(services, serial)
    boot = _look(services)["boot"]
    kept = any(c.kind == "fixed-performance" and c.boot_id == boot for c in journal.changes)
    fixed = preparation.fixed_performance and not kept
    prepare(services, journal, replace(preparation, fixed_performance=fixed))


def restore(services: PhoneServices, journal: Journal, on_note: OnNote | None = None) -> None:
    """Undo the changes of a journal in reverse, but for those that the user changed meanwhile."""
    if journal.changes:
        run_to_its_end(partial(_undo_all, services, journal, on_note))


def _undo_all(services: PhoneServices, journal: Journal, on_note: OnNote | None) -> None:
    _run(services, ["true"])  # a change that was under way when its connection broke is made by now
    now = _look(services)
    refused: DeviceError | None = None
    for change in reversed(list(journal.changes)):
        _told(services, now, "stay on" if change.kind == "setting" else "boot")
        if change.kind == "screen":
            _told(services, now, "screen")
        words = _undoing(change, now)
        if words is None and on_note is not None and change.kind == "setting":
            on_note(f"{change.name} was changed meanwhile on the phone: it is left as it is")
        try:
            if words is not None:
                _run(services, words)
        except DeviceError as error:
            if error.field != _REFUSED:
                raise
            if change.kind != "fixed-performance":  # which a phone that lacks it never had on
                refused = error
                continue
        journal.drop(change)
    if refused is not None:
        raise refused


def _undoing(change: Change, now: dict[str, str]) -> list[str] | None:
    """The command that undoes a change; None where there is nothing to undo any more."""
    if change.kind == "setting":
        if now["stay on"] != change.wrote:
            return None
        if change.before == "null":
            return ["settings", "delete", "global", change.name]
        return ["settings", "put", "global", change.name, change.before]
    if now["boot"] != change.boot_id:  # gone with that boot
        return None
    if change.kind == "screen":
        return ["input", "keyevent", _SLEEP] if now["screen"] == change.wrote else None
    return [*_FIXED, change.before]


class _PuttingBack:
    """Undoes everything, over a new connection where the first does not carry it any more."""

    def __init__(
        self,
        services: PhoneServices,
        connect: Callable[[], PhoneServices],
        serial: str,
        on_note: OnNote | None,
    ) -> None:
        self._services, self._connect = services, connect
        self._serial, self._on_note = serial, on_note
        self._is_first = not services.link.is_exclusive
        self._is_done = False

    def run(self) -> None:
        """Undo; a note is given where the phone is away. Nothing where it was done before."""
        if self._is_done:
            return
        if self._is_first:
            self._is_first = False  # an interrupt may cut a packet in two
            with suppress(LatprofError):
                restore(self._services, Journal(self._services, self._serial), self._on_note)
                self._is_done = True
                return
        try:
            again = self._connect()
            with again.link:
                restore(again, Journal(again, self._serial), self._on_note)
        except LatprofError as error:
            if self._on_note is not None:
                self._on_note(
                    f"the phone {self._serial} could not be put back as it was ({error.problem}): "
                    "the next latprof that reaches it does so, or `latprof android restore`"
                )
        self._is_done = True


def _look(services: PhoneServices) -> dict[str, str]:
    """What is changed by a preparation, as it is now."""
    found = ask_all(
        services,
        {
            "started": "getprop sys.boot_completed; getprop dev.bootcomplete",
            "boot": "cat /proc/sys/kernel/random/boot_id",
            "stay on": f"settings get global {_STAY_ON_SETTING}",
            "screen": "dumpsys power | grep -o 'mWakefulness=[A-Za-z]*'",
        },
    )
    values = {name: text.strip() for name, text in found.items()}
    if not values.pop("started"):
        raise DeviceOfflineError(
            f"{services.link.serial} has not started yet", hint="wait until its screen is unlocked"
        )
    values["screen"] = values["screen"].removeprefix("mWakefulness=").split("\n")[0]
    return values


def _told(services: PhoneServices, now: dict[str, str], name: str) -> str:
    """What a phone says of itself, which is never nothing: that is no answer, as in a shutdown."""
    if not now[name]:
        raise DeviceError(
            f"{services.link.serial} does not tell its state ({name})",
            hint="wait until the phone has started, and run the same command again",
        )
    return now[name]


def _run(services: PhoneServices, words: list[str]) -> None:
    ended = services.run(["sh", "-c", _IN_TURN, "sh", *words])
    if ended.status != 0:
        raise DeviceError(
            f"{services.link.serial} refuses `{' '.join(words)}`: "
            f"{' '.join((ended.stderr or ended.stdout).split())[:200]}",
            field=_REFUSED,
            hint=f"allow it ({_TO_ALLOW}), and run the same command again",
        )
