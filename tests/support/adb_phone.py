"""A phone for tests: the real adbd in namespaces of its own, with a root folder that answers.

``getprop``, ``dumpsys``, ``cmd``, ``settings`` and ``input`` answer from a profile (see
``profiles.py``) and keep what is set; ``/sys/devices/system/cpu`` is the profile's; the programs of
this computer are there, so that the runner built for it runs with the real library.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

from adb_daemon import build_adbd
from faulty_link import FaultyLink

_PORT = 5555
#: How often a phone that starts is looked for, every 10 ms: two minutes, on any machine.
_LOOKS = 12_000
_SHOWN = ("usr", "lib", "lib64")
_MADE = ("bin", "data/local/tmp", "data/misc/adb", "dev", "proc", "sys", "tmp", "answers", "etc")

#: Where `slow` is there, what is set is set after so many seconds, as by a phone's Java programs.
_SLOWLY = """[ ! -f /answers/slow ] || {
  : > /answers/begun; sleep "$(cat /answers/slow)"; rm -f /answers/begun; }"""
#: Each program answers from /answers, and keeps what is set there.
_PROGRAMS = {
    "getprop": """
if [ $# = 0 ]; then cat /answers/getprop; exit; fi
sed -n "s/^\\[$1\\]: \\[\\(.*\\)\\]$/\\1/p" /answers/getprop""",
    "dumpsys": """
case "$1" in *[!A-Za-z0-9_.-]*|'') exit 1;; esac
if [ -f "/answers/dumpsys.$1" ]; then cat "/answers/dumpsys.$1"; exit; fi
echo "Can't find service: $1" >&2; exit 20""",
    "settings": f"""
[ "$1" = get ] || {_SLOWLY}
file="/answers/settings.$2.$3"
case "$1" in
  get) if [ -f "$file" ]; then cat "$file"; else echo null; fi;;
  put) printf '%s\\n' "$4" > "$file"; echo "$*" >> /answers/log;;
  delete) rm -f "$file"; echo "$*" >> /answers/log;;
  *) exit 1;;
esac""",
    "cmd": f"""
{_SLOWLY}
echo "$*" >> /answers/log
if [ "$1 $2" = "power set-fixed-performance-mode-enabled" ]; then
  if [ -f /answers/no-fixed-performance-mode ]; then echo "Unknown command: $2" >&2; exit 255; fi
  echo "$3" > /answers/fixed-performance-mode; exit
fi
echo "cmd: Can't find service: $1" >&2; exit 20""",
    "mv": f"""
{_SLOWLY}
exec busybox mv "$@" """,
    "input": f"""
{_SLOWLY}
echo "$*" >> /answers/log
case "$2" in
  223) sed -i 's/mWakefulness=Awake/mWakefulness=Asleep/' /answers/dumpsys.power;;
  224) sed -i 's/mWakefulness=Asleep/mWakefulness=Awake/' /answers/dumpsys.power;;
esac""",
}


class Phone:
    """One phone, made of a profile; a context manager.

    Parameters
    ----------
    profile : Profile
        What it answers.
    folder : Path
        Where its root folder is made.
    with_keys : bool
        Whether only listed keys may connect.
    space_mib : int, optional
        Room in /data/local/tmp, which is empty after a boot then; as much as here by default.
    """

    def __init__(self, profile, folder, *, with_keys=False, space_mib=None):
        self._space_mib = space_mib
        self.profile = profile
        self.root = Path(folder) / "root"
        self._program = build_adbd()[with_keys]
        self._adbd = None
        self.link = None
        self._make_root()

    def __enter__(self):
        self.boot()
        return self

    def __exit__(self, *error):
        self.halt()
        if self.link is not None:
            self.link.close()

    @property
    def serial(self):
        """HOST:PORT, by which a server or adb-shell reaches it through the link."""
        return f"127.0.0.1:{self.link.port}"

    def allow(self, public_key):
        """List a key; takes a file of one."""
        keys = self.root / "data/misc/adb/adb_keys"
        with keys.open("a") as file:
            file.write(Path(public_key).read_text().strip() + "\n")

    def answer(self, name, text):
        """Change an answer, for example ``dumpsys.battery``."""
        (self.root / "answers" / name).write_text(text)

    def asked(self, name="log"):
        """What was kept: the log of changes, or one setting; empty where there is none."""
        place = self.root / "answers" / name
        return place.read_text() if place.exists() else ""

    # Life --------------------------------------------------------------------------------------

    @property
    def halted(self):
        """Whether nothing runs on it."""
        return self._adbd is None

    def boot(self, *, same_boot=False):
        """Start adbd, in a boot of its own unless told otherwise."""
        if not same_boot:
            (self.root / "answers/boot_id").write_text(f"{uuid.uuid4()}\n")
        for left in ("fixed-performance-mode",):  # gone with a reboot
            (self.root / "answers" / left).unlink(missing_ok=True)
        command = [
            "unshare",
            *("--net", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"),
            *("sh", "-eu", "-c", self._script(), "phone", str(self.root)),
        ]
        with (self.root.parent / "adbd.log").open("ab") as log:
            self._adbd = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        inner = self._inner_process()
        if self.link is None:
            self.link = FaultyLink()
        self.link.lead_to(_in_network_of(inner))
        self._wait_until_it_listens()

    def halt(self):
        """Kill everything that runs on the phone."""
        if self._adbd is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._adbd.pid, signal.SIGKILL)
            self._adbd.wait()
            self._adbd = None
        if self.link is not None:
            self.link.cut()

    def reboot(self):
        """Halt and boot again."""
        self.halt()
        self.boot()

    def processes(self, name):
        """Numbers of the phone's processes whose command line holds ``name``."""
        inside = Path(f"/proc/{self._inner_process()}/ns/pid").readlink()
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (place / "ns/pid").readlink() == inside:
                    line = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    if name in line:
                        found.append(int(place.name))
        return found

    @property
    def inside(self):
        """Its root folder as it sees it itself, with what is mounted there; while it runs."""
        return Path(f"/proc/{self._inner_process()}/root")

    def _inner_process(self):
        """The first process of the phone's own process namespace, as this computer numbers it."""
        for _ in range(_LOOKS):
            children = Path(f"/proc/{self._adbd.pid}/task/{self._adbd.pid}/children")
            with contextlib.suppress(OSError):
                if numbers := children.read_text().split():
                    return int(numbers[0])
            assert self._adbd.poll() is None, (self.root.parent / "adbd.log").read_text()
            time.sleep(0.01)
        raise AssertionError("the phone did not start")

    def _wait_until_it_listens(self):
        for _ in range(_LOOKS):
            with contextlib.suppress(OSError):
                self.link.try_it().close()
                return
            assert self._adbd.poll() is None, (self.root.parent / "adbd.log").read_text()
            time.sleep(0.01)
        raise AssertionError("adbd did not listen")

    def _script(self):
        """What runs inside the namespaces before adbd does."""
        shown = "\n".join(
            f'if [ -e "/{name}" ]; then mount --rbind "/{name}" "$1/{name}"; fi' for name in _SHOWN
        )
        space = ""
        if self._space_mib:
            options = f"size={self._space_mib}m,mode=777"
            space = f'mount -t tmpfs -o {options} tmpfs "$1/data/local/tmp"'
        return f"""
ip link set lo up
{shown}
mount --rbind /dev "$1/dev"
mount -t proc proc "$1/proc"
{space}
mount --bind "$1/answers/boot_id" "$1/proc/sys/kernel/random/boot_id"
if [ -f "$1/answers/cpuinfo" ]; then mount --bind "$1/answers/cpuinfo" "$1/proc/cpuinfo"; fi
export ADBD_PORT={_PORT} PATH=/bin:/usr/bin HOME=/data TMPDIR=/data/local/tmp
exec /usr/sbin/chroot "$1" /bin/adbd
"""

    def _make_root(self):
        for name in (*_MADE, *_SHOWN):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        (self.root / "data/local/tmp").chmod(0o777)
        bin_folder = self.root / "bin"
        shutil.copy2("/bin/busybox", bin_folder / "busybox")
        listed = subprocess.run(
            ["/bin/busybox", "--list"], capture_output=True, text=True, check=True
        )
        for name in listed.stdout.split():
            if not (bin_folder / name).exists():
                (bin_folder / name).symlink_to("busybox")
        for name, text in _PROGRAMS.items():
            (bin_folder / name).unlink(missing_ok=True)
            (bin_folder / name).write_text("#!/bin/sh\n" + text.strip() + "\n")
            (bin_folder / name).chmod(0o755)
        shutil.copy2(self._program, bin_folder / "adbd")
        system = self.root / "system"
        system.mkdir(exist_ok=True)
        if not (system / "bin").exists():
            (system / "bin").symlink_to("../bin")
        (self.root / "etc/passwd").write_text(
            "root:x:0:0::/data:/bin/sh\nshell:x:2000:2000::/data:/bin/sh\n"
        )
        for name, text in self.profile.answers().items():
            place = self.root / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)


def _in_network_of(process):
    """A function that connects to adbd from within the network of a process."""
    namespace = os.open(f"/proc/{process}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    library = ctypes.CDLL(None, use_errno=True)

    def connect():
        """Called in a thread of its own: the namespace is the thread's."""
        if library.setns(namespace, 0x40000000):
            raise OSError(ctypes.get_errno(), "setns")
        return socket.create_connection(("127.0.0.1", _PORT), timeout=10)

    return connect


if __name__ == "__main__":
    import tempfile

    from phone_profiles import PROFILES

    chosen = PROFILES[sys.argv[1] if len(sys.argv) > 1 else "pixel-6"]
    with tempfile.TemporaryDirectory() as made, Phone(chosen, made) as phone:
        print(f"adb connect {phone.serial}")
        signal.pause()
