"""Folders of images, read with Pillow: one folder a class, and the folder's name is the name of the class."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .dataset import Dataset
from .errors import DataError, optional

__all__ = ["read_image", "read_images"]

Colour = Literal["grey", "RGB"]
GREY = {"1", "L", "I;16", "I;16L", "I;16B"}


def read_images(
    folder: str | Path,
    *,
    size: tuple[int, int] | None = None,
    colour: Colour | None = None,
    dtype: DTypeLike = np.float64,
) -> Dataset:
    """The images in the folders of `folder`, a class each: X is (n, channels, height, width), numbers from 0 to 1.

    size: (height, width) to which all images are resized; None: they must be of one size.
    colour: "grey" (one channel) or "RGB" (three); None: grey if all images are.
    Files whose name begins with a dot are passed over; every other one must be an image. Classes and files come in the
    order of their names. Raises DataError for what cannot be read, images of different sizes and transparent ones.
    """
    folder = Path(folder)
    classes = [each for each in visible(folder) if each.is_dir()]
    files = [(path, label) for label, each in enumerate(classes) for path in visible(each)]
    if not files:
        raise DataError(folder, "expected folders with images in them, a folder a class, found no image")
    if len(classes) < len(visible(folder)):
        stray = next(each for each in visible(folder) if not each.is_dir())
        raise DataError(stray, "expected a folder with the images of one class, found a file")
    if colour is None:
        colour = "grey" if all(mode(path) in GREY for path, _ in files) else "RGB"
    X: NDArray[Any] = np.empty(0)
    for i, (path, _) in enumerate(files):
        image = read_image(path, size=size, colour=colour, dtype=dtype)
        if i == 0:
            X = np.empty((len(files), *image.shape), dtype)
        if image.shape != X.shape[1:]:
            raise DataError(path, f"is {image.shape[1]} pixels high and {image.shape[2]} wide, but {files[0][0]} is "
                                  f"{X.shape[2]} and {X.shape[3]}; give size=(height, width) to resize all")
        X[i] = image
    return Dataset(X, np.array([label for _, label in files]), (), tuple(each.name for each in classes), folder.name)


def suffixes() -> set[str]:
    """What the names of images end with, as far as Pillow is there to read them."""
    try:
        from PIL import Image
    except ModuleNotFoundError:
        return {".png", ".jpg", ".jpeg"}  # so that what is missing is said
    return set(Image.registered_extensions())


def visible(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if not each.name.startswith("."))


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """An image whose pixels Pillow reads when they are asked for; what it cannot read is a DataError."""
    pillow = optional("PIL.Image", "Pillow", "images")
    try:
        with pillow.open(path) as image:
            yield image
    except pillow.UnidentifiedImageError as error:
        raise DataError(path, "expected an image that Pillow can read") from error
    except (OSError, SyntaxError, EOFError, struct.error, zlib.error, pillow.DecompressionBombError) as error:
        raise DataError(path, f"the image is broken: {error}") from error


def mode(path: Path) -> str:
    with opened(path) as image:
        return str(image.mode)


def read_image(
    path: str | Path, *, size: tuple[int, int] | None, colour: Colour, dtype: DTypeLike = np.float64
) -> NDArray[Any]:
    """One image as (channels, height, width), from 0 to 1, turned upright as its camera says."""
    path = Path(path)
    with opened(path) as image:
        image.load()
        return pixels(path, image, size, colour, dtype)


def pixels(path: Path, image: Any, size: tuple[int, int] | None, colour: Colour, dtype: DTypeLike) -> NDArray[Any]:
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data and image.convert("RGBA").getextrema()[3][0] < 255:
        raise DataError(path, "is transparent: put it on a background first")
    highest = 255
    if image.mode.startswith("I;16"):  # of these Pillow would keep the lowest byte
        image, highest = Image.fromarray(np.asarray(image).astype(np.float32)), 65535
    elif image.mode in ("I", "F"):
        raise DataError(path, f"its pixels are of mode {image.mode}, which has no largest value: save 8 or 16 bits")
    else:
        image = image.convert("L" if colour == "grey" else "RGB")
    if size is not None and image.size != size[::-1]:
        image = image.resize(size[::-1], Image.Resampling.BILINEAR)
    array = np.asarray(image)
    array = array[np.newaxis] if array.ndim == 2 else array.transpose(2, 0, 1)
    if colour == "RGB" and len(array) == 1:
        array = np.repeat(array, 3, axis=0)
    return np.divide(array, highest, dtype=np.float64).astype(dtype, copy=False)
