"""An arm64 Linux without arm64: Debian's libraries and LiteRT's wheel in a folder, run by qemu.

Needs Debian's package ``qemu-user-static``, ``apt-get`` and ``pip``; fetches 18 MB once.
"""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PACKAGES = ("libc6", "libstdc++6", "libgcc-s1")
#: Of a Pixel 1: without a processor of its own LiteRT's CPU detection has nothing to read.
CPUINFO = """processor\t: {core}
BogoMIPS\t: 38.40
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid
CPU implementer\t: 0x51
CPU architecture: 8
CPU variant\t: 0x2
CPU part\t: 0x205
CPU revision\t: 1

"""
CLOCKS_KHZ = (1593600, 1593600, 2150400, 2150400)
_LIBRARIES = "lib/aarch64-linux-gnu"


def run(*command, cwd):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def fetch_debian(folder):
    """Unpack Debian's arm64 libraries; apt's own state is left alone."""
    for name in ("state/lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    options = [
        "APT::Architecture=arm64",
        "APT::Architectures::=arm64",
        f"Dir::State={folder / 'state'}",
        "Dir::State::status=/dev/null",
        f"Dir::Cache={folder / 'cache'}",
        "APT::Sandbox::User=root",
    ]
    apt = ["apt-get", "-qq", *(word for option in options for word in ("-o", option))]
    run(*apt, "update", cwd=folder)
    run(*apt, "download", *PACKAGES, cwd=folder)
    for package in folder.glob("*.deb"):
        run("dpkg-deb", "-x", package, folder / "root", cwd=folder)


def fetch_litert(folder):
    """Unpack the library of the installed LiteRT's wheel for arm64."""
    version = importlib.metadata.version("ai-edge-litert")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
    platform = ["--platform", "manylinux_2_27_aarch64", "--only-binary", ":all:", "--no-deps"]
    run(*pip, *platform, "--python-version", "3.11", f"ai-edge-litert=={version}", cwd=folder)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        content = archive.read("ai_edge_litert/libLiteRt.so")
    (folder / "libLiteRt.so").write_bytes(content)


def describe_phone(root):
    """What qemu opens in place of this computer's files."""
    (root / "proc").mkdir(parents=True, exist_ok=True)
    text = "".join(CPUINFO.format(core=core) for core in range(len(CLOCKS_KHZ)))
    (root / "proc/cpuinfo").write_text(text)
    cores = root / "sys/devices/system/cpu"
    for core, highest in enumerate(CLOCKS_KHZ):
        clocks = cores / f"cpu{core}/cpufreq"
        clocks.mkdir(parents=True, exist_ok=True)
        for name in ("scaling_cur_freq", "scaling_max_freq", "cpuinfo_max_freq"):
            (clocks / name).write_text(f"{highest}\n")
        (clocks / "scaling_min_freq").write_text("307200\n")
    for name in ("possible", "present", "online"):
        (cores / name).write_text(f"0-{len(CLOCKS_KHZ) - 1}\n")


def arm64_folder(place):
    """Make the folder; without qemu the test is skipped, in CI it fails."""
    if shutil.which("qemu-aarch64-static") is None:
        if os.environ.get("CI"):
            pytest.fail("Debian's package qemu-user-static is not installed")
        pytest.skip("Debian's package qemu-user-static is not installed")
    fetch_debian(place)
    fetch_litert(place)
    describe_phone(place / "root")
    return place


def command(folder: Path, program):
    """What runs an arm64 program here."""
    root = folder / "root"
    linker = root / _LIBRARIES / "ld-linux-aarch64.so.1"
    libraries = f"{root / _LIBRARIES}:{root / 'usr' / _LIBRARIES}"
    return ("/usr/bin/env", "qemu-aarch64-static", "-L", root, linker, "--library-path",
            libraries, program)  # fmt: skip
