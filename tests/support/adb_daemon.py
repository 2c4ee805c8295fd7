"""The daemon that runs on phones, built for this computer from Debian's source package.

Neither its source nor the program is in this repository: ``build_adbd`` fetches the source with
apt, compiles 33 files of it (half a minute) and keeps the result in ``build/adbd``. There are two
programs, and what is the same in both is compiled once.
"""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

VERSION = "29.0.6-28"
BUILT = Path(__file__).parents[2] / "build" / "adbd"

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_ADB = "system/core/adb"
_ALONE = [
    "shell_service_protocol.cpp",
    *(
        f"daemon/{name}.cpp"
        for name in (
            "auth",
            "jdwp_service",
            "usb_dummy",
            "file_sync_service",
            "services",
            "shell_service",
            "main",
        )
    ),
    "adbconnection/adbconnection_server.cpp",
]
_BESIDE = [
    "system/core/diagnose_usb/diagnose_usb.cpp",
    "system/core/libasyncio/AsyncIO.cpp",
    "system/core/libcrypto_utils/android_pubkey.c",
    "frameworks/native/libs/adbd_auth/adbd_auth.cpp",
]
_INCLUDED = [
    _ADB,
    f"{_ADB}/daemon/include",
    f"{_ADB}/adbconnection/include",
    "system/core/base/include",
    "system/core/libcutils/include",
    "system/core/libasyncio/include",
    "system/core/diagnose_usb/include",
    "system/core/libcrypto_utils/include",
    "system/core/qemu_pipe/include",
    "system/core/include",
    "frameworks/native/libs/adbd_auth/include",
]
_HEADERS = (
    "cstdint cstdlib cstring memory string vector functional condition_variable mutex optional"
    " deque"
)
_FS_CONFIG = (
    'extern "C" inline void fs_config(const char*, int, const char*,'
    " unsigned*, unsigned*, unsigned*, uint64_t*) {}"
)
_FLAGS = [
    "-std=gnu++2a",
    "-O1",
    "-w",
    "-fpermissive",
    "-D_GNU_SOURCE",
    "-DADB_HOST=0",
    "-DALLOW_ADBD_ROOT=0",
    '-DADB_VERSION="29.0.6"',
    '-DPLATFORM_TOOLS_VERSION="29.0.6"',
    "-DANDROID_BASE_UNIQUE_FD_DISABLE_IMPLICIT_CONVERSION=1",
]
#: The macro of a phone that asks nobody for a key.
_ASKS_NOBODY = "ALLOW_ADBD_NO_AUTH"
_LIBRARIES = "-lbase -lcrypto -lcutils -llog -lcap -lresolv -lutil -lpthread -latomic".split()
_LIBRARY_FOLDER = "/usr/lib/x86_64-linux-gnu/android"


def build_adbd() -> dict[bool, Path]:
    """The two programs, by whether they ask for a key; built where they are not there yet."""
    programs = {True: BUILT / "adbd-with-keys", False: BUILT / "adbd-for-anybody"}
    BUILT.mkdir(parents=True, exist_ok=True)
    with (BUILT / "lock").open("w") as lock:  # of test processes side by side one builds
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not all(program.exists() for program in programs.values()):
            with tempfile.TemporaryDirectory(prefix="adbd-") as folder:
                _compile(_fetch(Path(folder)), Path(folder), programs)
    return programs


def _fetch(folder: Path) -> Path:
    """The source, patched as Debian builds it, by a source list of its own."""
    listed = _run(
        "apt-get",
        "indextargets",
        "--format",
        f"deb-src [signed-by={_KEYRING}] $(REPO_URI) $(RELEASE) $(COMPONENT)",
        "Created-By: Packages",
        "Origin: Debian",
    )
    sources = folder / "sources.list"
    sources.write_text("\n".join(sorted(set(listed.splitlines()))) + "\n")
    (folder / "lists" / "partial").mkdir(parents=True)
    options = [
        f"-oDir::Etc::SourceList={sources}",
        "-oDir::Etc::SourceParts=/dev/null",
        f"-oDir::State::Lists={folder / 'lists'}",
        f"-oDir::Cache={folder / 'cache'}",
        "-oAPT::Sandbox::User=root",
    ]
    _run("apt-get", *options, "-qq", "update")
    _run("apt-get", *options, "-qq", "source", f"android-platform-tools={VERSION}", folder=folder)
    (source,) = (path for path in folder.glob("android-platform-tools-*") if path.is_dir())
    return source


def _compile(source: Path, folder: Path, programs: dict[bool, Path]) -> None:
    """Compile and link both programs; nothing of the source is edited."""
    overrides = folder / "overrides"
    (overrides / "android-base").mkdir(parents=True)
    (overrides / "android-base" / "thread_annotations.h").write_text(
        _annotations(source / "system/core/base/include/android-base/thread_annotations.h")
    )
    forced = overrides / "forced.h"
    forced.write_text("".join(f"#include <{name}>\n" for name in _HEADERS.split()) + _FS_CONFIG)
    included = [f"-I{path}" for path in (overrides, *(source / name for name in _INCLUDED))]
    included.append("-I/usr/include/android")
    flags = [*_FLAGS, f"-include{forced}", *included]
    files = [source / _ADB / name for name in [*_listed_files(source), *_ALONE]]
    files += [source / name for name in _BESIDE]
    differing = {file for file in files if _ASKS_NOBODY in file.read_text(errors="replace")}
    assert differing, f"no file knows {_ASKS_NOBODY}"

    def compile_one(wanted: tuple[Path, bool]) -> Path:
        file, with_keys = wanted
        name = str(file.relative_to(source)).replace("/", "_")
        made = folder / f"{name}{'' if with_keys else '-for-anybody'}.o"
        compiler = ["gcc", "-w", "-O1", *included] if file.suffix == ".c" else ["g++", *flags]
        _run(*compiler, *([] if with_keys else [f"-D{_ASKS_NOBODY}=1"]), "-c", file, "-o", made)
        return made

    wanted = [(file, True) for file in files] + [(file, False) for file in differing]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = dict(zip(wanted, pool.map(compile_one, wanted), strict=True))
    for with_keys, program in programs.items():
        chosen = [objects[file, with_keys or file not in differing] for file in files]
        _link(chosen, folder / program.name, program)


def _link(objects: list[Path], linked: Path, program: Path) -> None:
    _run(
        "g++",
        *objects,
        f"-L{_LIBRARY_FOLDER}",
        f"-Wl,-rpath,{_LIBRARY_FOLDER}",
        *_LIBRARIES,
        "-s",
        "-o",
        linked,
    )
    shutil.copy2(linked, program.with_suffix(".part"))
    program.with_suffix(".part").rename(program)


def _listed_files(source: Path) -> list[str]:
    blueprint = (source / _ADB / "Android.bp").read_text()
    files: list[str] = []
    for name in ("libadb_srcs", "libadb_posix_srcs", "libadb_linux_srcs"):
        found = re.search(rf"^{name}\s*=\s*\[(.*?)\]", blueprint, re.DOTALL | re.MULTILINE)
        assert found, f"Android.bp has no {name}"
        files += re.findall(r'"([^"]+)"', found[1])
    return files


def _annotations(original: Path) -> str:
    """The header of clang's annotations, which GCC does not know, with each of them empty."""
    return re.sub(
        r"#define THREAD_ANNOTATION_ATTRIBUTE__\(x\).*",
        "#define THREAD_ANNOTATION_ATTRIBUTE__(x)",
        original.read_text(),
    )


def _run(*command: object, folder: Path | None = None) -> str:
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command[0]} failed:\n{done.stderr[-3000:]}"
    return done.stdout


if __name__ == "__main__":
    print(*(path for path in build_adbd().values()), sep="\n")
