"""Image tasks: shapes, splits, determinism, and what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from latprof.errors import InputFileError, InvalidValueError, NotEnoughDataError
from latprof.searchers import digits_task, folder_task
from latprof.searchers.supernets.image_tasks import load_task

PARTS = ("train", "validation", "test")


def tensors(task):
    """Images and labels of the three parts."""
    return [getattr(task, part).tensors for part in PARTS]


def rows(images):
    return [image.numpy().tobytes() for image in images]


@pytest.fixture(scope="module")
def digits():
    return digits_task(8)


def test_digits_are_split_into_60_20_and_20_percent(digits):
    assert (digits.name, digits.image_shape, digits.num_classes) == ("digits", (3, 8, 8), 10)
    assert [len(getattr(digits, part)) for part in PARTS] == [1079, 359, 359]
    for images, labels in tensors(digits):
        assert images.shape[1:] == (3, 8, 8)
        assert images.dtype == torch.float32
        assert labels.dtype == torch.int64
        assert set(labels.tolist()) == set(range(10))


def test_every_digit_is_in_one_part_with_its_label(digits):
    """All 1,797 images differ, so that an image in two parts would be one too few."""
    found = load_digits()
    scaled = found.images / 16.0
    wanted = (scaled - scaled.mean()) / scaled.std()
    images = torch.cat([images for images, _ in tensors(digits)])
    labels = torch.cat([labels for _, labels in tensors(digits)])

    assert len(set(rows(images))) == 1797
    by_pixels = {
        row.tobytes(): label for row, label in zip(found.images, found.target, strict=True)
    }
    back = np.rint((images[:, 0].numpy() * scaled.std() + scaled.mean()) * 16.0)
    assert [by_pixels[row.tobytes()] for row in back] == labels.tolist()
    assert np.sort(images[:, 1].numpy(), axis=None) == pytest.approx(
        np.sort(wanted, axis=None), abs=1e-3
    )


def test_digits_are_normalised_and_enlarged_as_wanted():
    task = digits_task(20)
    images = torch.cat([images for images, _ in tensors(task)])

    assert task.image_shape == (3, 20, 20)
    assert images.mean().item() == pytest.approx(0.0, abs=1e-4)
    assert images.std().item() == pytest.approx(1.0, abs=1e-3)
    assert torch.equal(images[:, 0], images[:, 2])


def test_the_same_seed_splits_alike_and_another_one_otherwise(digits):
    again, other = digits_task(8), digits_task(8, seed=1)

    for part in range(3):
        images, labels = tensors(digits)[part]
        assert torch.equal(tensors(again)[part][0], images)
        assert torch.equal(tensors(again)[part][1], labels)
        assert not torch.equal(tensors(other)[part][0], images)


@pytest.mark.parametrize("resolution", [7, 1025, 8.5])
def test_impossible_resolutions_are_refused(tmp_path, resolution):
    with pytest.raises(InvalidValueError, match="resolution"):
        digits_task(resolution)
    with pytest.raises(InvalidValueError, match="resolution"):
        folder_task(tmp_path, resolution)


def test_impossible_seeds_are_refused():
    with pytest.raises(InvalidValueError, match="seed"):
        digits_task(8, seed=-1)


@pytest.fixture
def folder(tmp_path):
    """Ten dark images, upright, and six bright ones, wide; each of its own grey."""
    root = tmp_path / "shades"
    for label, (name, first, size) in enumerate([("dark", 10, (9, 12)), ("bright", 200, (30, 10))]):
        (root / name).mkdir(parents=True)
        for number in range(10 - 4 * label):
            grey = first + 3 * number
            Image.new("RGB", size, (grey, grey, grey)).save(root / name / f"{number}.png")
    (root / "readme.txt").write_text("not a class")
    (root / "dark" / "notes.txt").write_text("not an image")
    return root


def test_hidden_and_empty_folders_are_no_classes(folder):
    (folder / ".thumbnails").mkdir()
    (folder / ".thumbnails" / "0.png").write_bytes((folder / "dark" / "0.png").read_bytes())
    (folder / "aaa-empty").mkdir()
    assert folder_task(folder, 16).num_classes == 2


def test_the_fingerprint_tells_other_images(folder):
    before = folder_task(folder, 16).fingerprint
    assert folder_task(folder, 16).fingerprint == before
    assert folder_task(folder, 8).fingerprint != before
    for path in (folder / "dark").glob("*.png"):
        Image.new("RGB", (9, 12), (90, 0, 90)).save(path)
    assert folder_task(folder, 16).fingerprint != before


def test_a_folder_has_a_class_for_each_of_its_folders(folder):
    task = folder_task(folder, 16)

    assert (task.name, task.image_shape, task.num_classes) == ("shades", (3, 16, 16), 2)
    assert [len(getattr(task, part)) for part in PARTS] == [10, 3, 3]
    images = torch.cat([images for images, _ in tensors(task)])
    labels = torch.cat([labels for _, labels in tensors(task)])
    assert len(set(rows(images))) == 16  # none is in two parts
    assert labels.bincount().tolist() == [6, 10]  # by name: bright, dark
    brightness = images.mean((1, 2, 3))
    assert brightness[labels == 0].min() > brightness[labels == 1].max()
    assert images.mean((0, 2, 3)).numpy() == pytest.approx(np.zeros(3), abs=1e-4)
    assert images.std((0, 2, 3)).numpy() == pytest.approx(np.ones(3), abs=1e-3)


def test_a_folder_is_split_alike_by_the_same_seed(folder):
    first, again, other = folder_task(folder, 8), folder_task(folder, 8), folder_task(folder, 8, 5)

    for one, two in zip(tensors(first), tensors(again), strict=True):
        assert torch.equal(one[0], two[0])
        assert torch.equal(one[1], two[1])
    assert not torch.equal(tensors(first)[0][0], tensors(other)[0][0])


def test_images_are_cut_to_a_centred_square_and_may_be_grey_or_have_a_palette(folder):
    wide = np.zeros((8, 24), dtype=np.uint8)
    wide[:, 8:16] = 255  # the middle is white, and all that is left
    Image.fromarray(wide).save(folder / "bright" / "wide.PNG")
    Image.fromarray(wide).convert("P").save(folder / "bright" / "palette.bmp")
    task = folder_task(folder, 8)
    images = torch.cat([images for images, _ in tensors(task)])

    brightest = images.mean((1, 2, 3)).topk(2).indices
    assert len(images) == 18
    assert (images[brightest].amax((1, 2, 3)) == images.max()).all()
    assert (images[brightest].amin((1, 2, 3)) == images[brightest].amax((1, 2, 3))).all()


def test_images_that_are_all_alike_are_no_division_by_zero(folder):
    for path in folder.glob("*/*.png"):
        Image.new("RGB", (8, 8), (7, 7, 7)).save(path)
    images = torch.cat([images for images, _ in tensors(folder_task(folder, 8))])
    assert torch.equal(images, torch.zeros_like(images))


def test_tasks_are_made_of_a_word_or_a_path(folder, digits):
    assert torch.equal(tensors(load_task("digits", 8))[0][0], tensors(digits)[0][0])
    assert load_task(str(folder), 8).name == "shades"


def test_what_is_no_folder_is_refused(folder):
    for path in (folder / "nothing", folder / "readme.txt"):
        with pytest.raises(InputFileError, match="no folder"):
            folder_task(path)


def test_fewer_than_two_classes_are_refused(folder, tmp_path):
    for path in (folder / "bright").iterdir():
        path.unlink()
    with pytest.raises(InputFileError, match="fewer than two classes"):
        folder_task(folder)
    with pytest.raises(InputFileError, match="fewer than two classes"):
        folder_task(folder / "dark")


def test_fewer_than_ten_images_are_refused(folder):
    for number in range(3, 10):
        (folder / "dark" / f"{number}.png").unlink()
    with pytest.raises(NotEnoughDataError, match="too few") as caught:
        folder_task(folder)
    assert caught.value.got == "9"
    Image.new("RGB", (8, 8)).save(folder / "dark" / "more.png")
    assert len(folder_task(folder, 8).train) == 6


def _broken_chunk(content):
    """A PNG whose pixels end too early, with something else where the next chunk begins."""
    start = content.index(b"IDAT")
    return content[: start - 4] + (4).to_bytes(4, "big") + content[start:]


@pytest.mark.parametrize(
    "broken",
    [lambda _: b"", lambda _: b"no image", lambda content: content[:60], _broken_chunk],
    ids=["empty", "text", "cut", "chunk"],
)
def test_an_image_that_cannot_be_read_is_named(folder, broken):
    path = folder / "bright" / "4.png"
    path.write_bytes(broken(path.read_bytes()))
    with pytest.raises(InputFileError, match=r"bright.4\.png is not an image"):
        folder_task(folder)
