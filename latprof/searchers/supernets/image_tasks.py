"""Image tasks: what networks are trained on during a search. Nothing is downloaded.

Any :class:`torch.utils.data.Dataset` of (image, label) pairs will do: images are float tensors of
shape (channels, height, width), labels whole numbers from 0. Needs torch.
"""

# mypy: disable-error-code="misc"

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, TensorDataset

from latprof.common.extras import require
from latprof.common.files import what_is_at
from latprof.common.limits import check_seed, whole_option
from latprof.common.short_reprs import ShortRepr
from latprof.errors import InputFileError, NotEnoughDataError

#: Shares of the images that architectures are chosen on, and that nothing is chosen on.
VALIDATION_SHARE = 0.2
TEST_SHARE = 0.2

_IMAGE_ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}
_LEAST_IMAGES = 10


@dataclass(frozen=True, eq=False, repr=False)
class ImageTask(ShortRepr):
    """Labelled images in three parts.

    Parameters
    ----------
    name : str
    train, validation, test : torch.utils.data.Dataset
        Weights learn from ``train`` and architectures from ``validation``; no choice is made on
        ``test``.
    image_shape : (int, int, int)
        Channels, height and width.
    num_classes : int
    """

    name: str
    train: Dataset[Any]
    validation: Dataset[Any]
    test: Dataset[Any]
    image_shape: tuple[int, int, int]
    num_classes: int

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that differ where the images do: of sizes and of some images."""
        told = hashlib.sha256(repr((self.image_shape, self.num_classes)).encode())
        for part in (self.train, self.validation, self.test):
            size = len(part)
            told.update(str(size).encode())
            for index in range(0, size, max(1, size // 32)):
                image, label = part[index]
                told.update(np.ascontiguousarray(image).tobytes() + str(int(label)).encode())
        return told.hexdigest()[:16]


def digits_task(resolution: int = 32, seed: int = 0) -> ImageTask:
    """The 1,797 handwritten digits that come with scikit-learn, as three-channel images.

    Parameters
    ----------
    resolution : int
        The 8x8 images are enlarged to this height and width, bilinearly.
    seed : int
        Of the split: 60 % to train, 20 % to validate, 20 % to test.

    Raises
    ------
    MissingDependencyError
        Where scikit-learn is not installed.
    InvalidValueError
        For a resolution below 8.
    """
    require("search", "the digits", "sklearn")
    from sklearn.datasets import load_digits

    side = whole_option("resolution", resolution, 8, 1024)
    found = load_digits()
    images = torch.from_numpy(found.images).float()[:, None] / 16.0
    images = torch.nn.functional.interpolate(
        images, size=(side, side), mode="bilinear", align_corners=False
    )
    images = ((images - images.mean()) / images.std()).expand(-1, 3, -1, -1).contiguous()
    return _split("digits", images, torch.from_numpy(found.target).long(), 10, seed)


def folder_task(path: str | os.PathLike[str], resolution: int = 32, seed: int = 0) -> ImageTask:
    """Images in ``path/CLASS/*.png`` (or jpg, bmp, webp), one folder a class.

    All are read into memory, cut to a centred square and scaled. Parameters as of
    :func:`digits_task`. Raises InputFileError for a folder without classes, or an image that cannot
    be read, and NotEnoughDataError for fewer than 10 images.
    """
    require("search", "reading images", "PIL")
    side = whole_option("resolution", resolution, 8, 1024)
    root = Path(path)
    if what_is_at(root) != "directory":
        raise InputFileError(f"{root} is no folder", expected="a folder with one folder a class")
    found = [_images_in(entry) for entry in sorted(root.iterdir()) if _is_class(entry)]
    classes = [images for images in found if images]
    files = [(file, label) for label, images in enumerate(classes) for file in images]
    if len(classes) < 2:
        raise InputFileError(
            f"{root} holds images of fewer than two classes",
            expected="CLASS/image.png with a folder for each class",
        )
    if len(files) < _LEAST_IMAGES:
        raise NotEnoughDataError(
            f"{root} holds too few images", expected=str(_LEAST_IMAGES), got=str(len(files))
        )
    images = torch.from_numpy(np.stack([_read_image(file, side) for file, _ in files]))
    labels = torch.tensor([label for _, label in files])
    mean, deviation = images.mean((0, 2, 3), keepdim=True), images.std((0, 2, 3), keepdim=True)
    images = (images - mean) / deviation.clamp_min(1e-3)
    return _split(root.resolve().name, images, labels, len(classes), seed)


def load_task(text: str, resolution: int = 32, seed: int = 0) -> ImageTask:
    """The task of ``"digits"``, or of a folder's path; errors as of these."""
    if text == "digits":
        return digits_task(resolution, seed)
    return folder_task(text, resolution, seed)


def _is_class(entry: Path) -> bool:
    return entry.is_dir() and not entry.name.startswith(".")


def _images_in(folder: Path) -> list[Path]:
    return sorted(
        file
        for file in folder.iterdir()
        if file.suffix.lower() in _IMAGE_ENDINGS and what_is_at(file) == "file"
    )


def _read_image(path: Path, side: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            fitted = ImageOps.fit(image.convert("RGB"), (side, side))
    # PIL raises SyntaxError for broken chunks of a PNG.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise InputFileError(f"{path} is not an image that can be read") from None
    return np.asarray(fitted, dtype=np.float32).transpose(2, 0, 1) / 255.0


def _split(
    name: str, images: torch.Tensor, labels: torch.Tensor, classes: int, seed: int
) -> ImageTask:
    order = torch.from_numpy(np.random.default_rng(check_seed(seed)).permutation(len(images)))
    held = [max(1, round(share * len(images))) for share in (VALIDATION_SHARE, TEST_SHARE)]
    parts: Sequence[torch.Tensor] = order.split([len(images) - sum(held), *held])
    train, validation, test = (TensorDataset(images[part], labels[part]) for part in parts)
    shape = (int(images.shape[1]), int(images.shape[2]), int(images.shape[3]))
    return ImageTask(name, train, validation, test, shape, classes)
