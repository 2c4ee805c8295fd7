"""What was measured on this host for a kernel pack, kept in the user's data folder.

A pack itself is never changed: what it grew to lies in a file of its own, and stands for it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from latprof.common.files import data_folder, what_is_at
from latprof.errors import PackError
from latprof.predictors.pack.kernel_pack import KernelPack, load_any_pack, save_kernel_pack


def measured_kernels_store() -> Path:
    """The store of all kernels that were measured because packs lacked them."""
    return data_folder("kernels") / "measured.db"


def measured_graphs() -> Path:
    """The folder with the graphs of the networks in that store, without their weights."""
    return data_folder("kernels") / "graphs"


def grown_pack(pack: KernelPack) -> KernelPack:
    """The pack with what was measured for it here, or the pack itself."""
    path = _place(pack)
    if what_is_at(path) != "file":
        return pack
    try:
        found = load_any_pack(path)
    except PackError:  # damaged, or of another version: it is made again by the next measurement
        return pack
    return found if isinstance(found, KernelPack) and found.target == pack.target else pack


def save_grown_pack(base: KernelPack, grown: KernelPack) -> Path:
    """Keep what a pack grew to; returns its place. Raises OutputPathError, DiskFullError."""
    path = _place(base)
    save_kernel_pack(grown, path)
    return path


def _place(pack: KernelPack) -> Path:
    identity = f"{pack.target.key}\n{pack.created_at}\n{pack.kernel_rows}\n{pack.reference_ms}"
    return data_folder("kernels") / f"{hashlib.sha256(identity.encode()).hexdigest()[:20]}.pack"
