"""Builds the runner's three programs with zig alone, or checks that the committed ones are these.

`python tests/build_runner.py` writes them, `python tests/build_runner.py --check` builds them
elsewhere, compares the bytes and looks into the ELF files. `make android-runner` and `make check`
run it with the pinned ziglang wheel.
"""

from __future__ import annotations

import argparse
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

RUNNER = Path(__file__).parents[1] / "latprof/profilers/runtimes/android/runner"
sys.path.insert(0, str(Path(__file__).parent / "support"))

from elf import read_elf  # noqa: E402 - a neighbour of the tests

SOURCE = RUNNER / "source"
SOURCES = ("main.c", "faults.c", "wire.c", "files.c", "tensors.c", "measuring.c",
           "libraries.c", "litert.c", "tflite.c", "onnxruntime.c")  # fmt: skip
#: No path, no date, no build's name gets into a program: the same sources make the same bytes.
FLAGS = ("-std=gnu11", "-Oz", "-g0", "-s", "-Wall", "-Wextra", "-Werror", "-fno-sanitize=all",
         "-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables",
         "-fomit-frame-pointer", "-ffp-contract=off", "-fno-builtin-bcmp",
         "-fvisibility=hidden", "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections",
         "-Wl,--build-id=none", "-Wl,-z,relro", "-Wl,-z,now", "-fPIE", "-pie")  # fmt: skip
LINUX = ("-Wl,--hash-style=gnu", "-ldl")
ANDROID = ("-DLATPROF_ANDROID", "-nostdlib", "-Wl,--hash-style=both", "-Wl,-z,max-page-size=16384",
           "-Wl,-dynamic-linker,/system/bin/linker64")  # fmt: skip
MOST_BYTES = 100_000
PROGRAMS = {
    "runner-x86_64-linux": ("x86_64-linux-gnu.2.17", "baseline", "/lib64/ld-linux-x86-64.so.2"),
    "runner-arm64-linux": ("aarch64-linux-gnu.2.17", "generic", "/lib/ld-linux-aarch64.so.1"),
    "runner-arm64-android": ("aarch64-linux-musl", "generic", "/system/bin/linker64"),
}


def zig(arguments: list[str], cache: Path) -> None:
    """Run zig's C compiler from the source folder, so that no path gets into its output."""
    environment = os.environ | {
        "ZIG_GLOBAL_CACHE_DIR": str(cache),
        "ZIG_LOCAL_CACHE_DIR": str(cache),
    }
    command = [sys.executable, "-m", "ziglang", "cc", *arguments]
    done = subprocess.run(
        command, cwd=SOURCE, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def musl_headers() -> list[str]:
    """Where zig has musl's headers, which it leaves out where no C library is linked."""
    import ziglang

    folder = Path(ziglang.__file__).parent / "lib/libc/include"
    names = ("aarch64-linux-musl", "generic-musl", "aarch64-linux-any", "any-linux-any")
    return [word for name in names for word in ("-isystem", str(folder / name))]


def without_sections(program: bytes) -> bytes:
    """Cut off the table of an ELF file's sections, which only debuggers read: 2 kB of 35."""
    headers, count = (
        struct.unpack_from("<Q", program, 32)[0],
        struct.unpack_from("<H", program, 56)[0],
    )
    ends = [
        offset + size
        for kind, _, offset, _, _, size, *_ in struct.iter_unpack(
            "<IIQQQQQQ", program[headers : headers + 56 * count]
        )
        if kind == 1
    ]
    cut = bytearray(program[: max(ends)])
    struct.pack_into("<Q", cut, 40, 0)
    struct.pack_into("<HHH", cut, 58, 64, 0, 0)
    return bytes(cut)


def stub(name: str, target: str, folder: Path, cache: Path) -> str:
    """Make a library that only names the functions of one of Android's; return its path."""
    names = (SOURCE / "android" / f"{name}.txt").read_text().split()
    source = folder / f"{name}.c"
    source.write_text("".join(f"void {function}(void) {{}}\n" for function in names))
    library = str(folder / f"{name}.so")
    zig(["-target", target, "-shared", "-nostdlib", "-fno-builtin", "-w",
         f"-Wl,-soname,{name}.so", "-o", library, str(source)], cache)  # fmt: skip
    return library


def build(folder: Path, cache: Path) -> None:
    """Write the three programs into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (target, cpu, _) in PROGRAMS.items():
        arguments = ["-target", target, f"-mcpu={cpu}", *FLAGS, *SOURCES]
        if name.endswith("android"):
            stubs = Path(tempfile.mkdtemp(dir=cache))
            libraries = [stub(library, target, stubs, cache) for library in ("libc", "libdl")]
            arguments += [*ANDROID, *musl_headers(), "android/start.c", *libraries]
        else:
            arguments += LINUX
        zig([*arguments, "-o", str(folder / name)], cache)
        if not name.endswith("android"):  # its linker wants the table of sections
            (folder / name).write_bytes(without_sections((folder / name).read_bytes()))


def faults(folder: Path) -> list[str]:
    """What is wrong with the programs in a folder."""
    found = []
    sizes = {name: (folder / name).stat().st_size for name in PROGRAMS}
    if sum(sizes.values()) >= MOST_BYTES:
        found.append(f"the programs have {sum(sizes.values())} bytes together: {sizes}")
    for name, (_, _, interpreter) in PROGRAMS.items():
        elf = read_elf(folder / name)
        android = name.endswith("android")
        if elf.interpreter != interpreter:
            found.append(f"{name} is started by {elf.interpreter}")
        if elf.machine != (183 if "arm64" in name else 62) or not elf.position_independent:
            found.append(f"{name} is for machine {elf.machine}, or cannot be loaded anywhere")
        allowed = {"libc.so", "libdl.so"} if android else {
            "libc.so.6", "libdl.so.2", Path(interpreter).name}  # fmt: skip
        if not set(elf.needed) <= allowed:
            found.append(f"{name} needs {elf.needed}")
        if android:
            listed = {
                function
                for library in ("libc", "libdl")
                for function in (SOURCE / "android" / f"{library}.txt").read_text().split()
            }
            if elf.undefined != listed:
                found.append(f"{name} uses what is not listed, or not all: "
                             f"{sorted(elf.undefined ^ listed)}")  # fmt: skip
            if min(elf.alignments) < 16384 or not {"gnu", "sysv"} <= elf.hash_styles:
                found.append(f"{name} is aligned to {elf.alignments}, hashes {elf.hash_styles}")
    return found


def main() -> None:
    """Build, or build and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with the committed programs")
    check = parser.parse_args().check
    committed = RUNNER / "programs"
    with tempfile.TemporaryDirectory(prefix="latprof-runner-") as name:
        folder = Path(name)
        built = folder / "built" if check else committed
        build(built, folder)
        found = [
            f"{program} is not what the sources make; run: make android-runner"
            for program in PROGRAMS
            if check and (built / program).read_bytes() != (committed / program).read_bytes()
        ] + faults(built)
    if found:
        sys.exit("\n".join(found))
    sizes = [(committed / program).stat().st_size for program in PROGRAMS]
    print(f"{len(PROGRAMS)} programs, {sum(sizes):,} bytes")


if __name__ == "__main__":
    main()
