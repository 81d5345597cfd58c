"""Pictures as PNG, which loses nothing, and from whatever Pillow reads."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

from robopref.data.hdf5 import COMPRESSION, SLACK
from robopref.errors import InputError
from robopref.structures import Array


def has_png(shape: tuple[int, ...]) -> bool:
    """Whether pictures of this shape, (height, width[, channels]), can be PNG."""
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))


def encode_png(picture: Array) -> bytes:
    """A uint8 picture as PNG."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="PNG", compress_level=1)
    return stream.getvalue()


def decode(content: bytes, where: str) -> Array:
    """Reads a PNG or JPEG picture.

    Returns:
        (height, width[, channels]) uint8

    Raises:
        InputError: if it is damaged or claims far more than it can hold.
    """
    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as picture:
            claimed = picture.width * picture.height * len(picture.getbands())
            if claimed > COMPRESSION * len(content) + SLACK:
                raise InputError(
                    f"{where}: a picture claims {claimed} bytes, but has {len(content)}; "
                    "get the data again"
                )
            values = np.asarray(picture)
    except InputError:
        raise
    except (
        OSError, ValueError, SyntaxError, EOFError, MemoryError, TypeError, OverflowError,
        UnidentifiedImageError, Image.DecompressionBombError,
    ) as error:  # fmt: skip
        raise InputError(f"{where}: a picture is damaged; get the data again") from error
    if values.dtype != np.uint8:
        raise InputError(f"{where}: pictures are {values.dtype}; robopref reads uint8")
    return values


def decode_all(contents: list[bytes], where: str) -> Array:
    """Reads pictures of one shape.

    Returns:
        (pictures, height, width[, channels]) uint8

    Raises:
        InputError: if one is damaged or they differ in shape.
    """
    pictures = [decode(content, where) for content in contents]
    shapes = {picture.shape for picture in pictures}
    if len(shapes) != 1:
        raise InputError(
            f"{where}: pictures differ in shape, {sorted(shapes)[:2]}; make them equal"
        )
    return np.stack(pictures)
