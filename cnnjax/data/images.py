"""Decodes images to one uint8 array, cropped and resized if a size is given.

What becomes of a file, in this order: the first of several frames or pages; 16 or 12
bits of grey to 8 (the highest, as Pillow does with 16-bit colour); a transparent ground
to white; the orientation that a camera noted to upright; palettes, CMYK and the like to
RGB. Deeper grey (32 bits, floating point) has no white that could be known, and is
refused, as is an animated PNG, whose first image need not be a frame. A BMP whose
alpha is 0 everywhere is opaque, as in browsers.
"""

import io
import math
import warnings
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import psutil
from PIL import ExifTags, Image, TiffImagePlugin

from cnnjax.data.cutting.cuts import Cut, center_square, evaluated
from cnnjax.data.cutting.geometry import CENTER, Geometry
from cnnjax.data.cutting.raw import Raw
from cnnjax.data.transparency import WHITE, depth_of, scale_key, without_key
from cnnjax.errors import UserError

# Goes up when files are decoded to other pixels than before: what is kept of decoded
# images, and fingerprints of files that stand for them, must not mix.
DECODING = 3
# What Pillow may take a file for, by content; nothing that starts another program.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM")
JPEG_START = b"\xff\xd8"
# Modes of one channel; transparency aside.
GREY_MODES = ("1", "L", "LA", "La")
_MODES = {1: "L", 3: "RGB"}  # channels -> Pillow mode
# Value of the EXIF tag Orientation -> what brings the image upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Where Pillow keeps what tells the orientation; that of TIFF is seen to on loading.
_NOTES = {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"}
_LFS = b"version https://git-lfs"

# Up to twice this, Pillow decodes with a warning of no use.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# Damaged notes beside the pixels, in words that do not name the file.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def resize_batch(
    images: np.ndarray, size: int, geometry: Geometry = CENTER
) -> np.ndarray:
    """What an evaluation sees, for an array.

    Args:
      images: all of one size.
      size: side of the result in pixels.
      geometry: how they are cut.

    Shapes:
      images: uint8 [N, H, W, C], C is 1 or 3; result uint8 [N, size, size, C].
    """
    num, height, width, channels = images.shape
    if height == width == size:
        return images
    result = np.empty((num, size, size, channels), np.uint8)
    for i, pixels in enumerate(images):
        image = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
        result[i] = _pixels(evaluated(geometry, image, size), channels)
    return result


def with_channels(images: np.ndarray, channels: int) -> np.ndarray:
    """Grey images repeated to three channels, or colour to grey as Pillow does it.

    Shapes:
      images: uint8 [N, H, W, C], C is 1 or 3; result uint8 [N, H, W, channels].
    """
    if images.shape[-1] == channels:
        return images
    if channels == 3:
        return np.repeat(images, 3, axis=-1)
    # ITU-R 601-2 luma in 16 bits behind the point.
    weights = np.array([19595, 38470, 7471], np.uint32)
    return ((images @ weights + 0x8000) >> 16).astype(np.uint8)[..., None]


def decoded_shape(
    encoded: bytes, name: str, size: int, channels: int
) -> tuple[int, int, int]:
    """(H, W, C) that an image has once decoded.

    Args:
      encoded: bytes of the file.
      name: for the message of an error.
      size: side to crop and resize to, in pixels; 0 = as stored.
      channels: 1 or 3; 0 = 1 for an image stored in grey, else 3.

    Raises:
      UserError: as `decode_all`.
    """
    image = upright(name, encoded)
    width, height = (size, size) if size else image.size
    return height, width, channels or (1 if image.mode == "L" else 3)


def decode_all(
    encoded: Iterable[tuple[str, bytes]],
    num_images: int,
    channels: int,
    size: int,
    convert: bool = False,
    cut: Cut | None = None,
) -> np.ndarray:
    """Decodes files of `FORMATS`.

    Args:
      encoded: (name for messages, bytes of the file) of each image.
      num_images: how many there are, at least 1.
      channels: 1 or 3; grey images are repeated to three channels where need be.
      size: side to crop and resize to, in pixels; 0 = all have the same size already.
      convert: with `channels` 1, turns colour into grey in place of refusing it.
      cut: what is done to each, if not `center_square`; needs `size`.

    Returns:
      uint8 [num_images, H, W, channels].

    Raises:
      UserError: a broken image; a coloured image where channels is 1; sizes that differ
        where `size` is 0; more memory than there is.
    """
    result: Any = None  # until the first image tells its shape
    for i, (name, content) in enumerate(encoded):
        # Cut where they are: most of a large one is never copied.
        raw = Raw.of(content) if size and cut and channels == 3 else None
        image: Any = raw or upright(name, content)
        if channels == 1 and image.mode != "L" and not convert:
            raise UserError(
                f"{name} is in colour, the first image of the set is grey: set "
                "config.data.channels to 3 (grey repeated) or 1 (colour to grey)"
            )
        if image.mode != _MODES[channels]:
            image = image.convert(_MODES[channels])
        if size:
            image = cut(i, image) if cut else center_square(image, size)
        pixels = _pixels(image, channels)
        if result is None:
            first = name
            require_memory(name, pixels.shape, num_images)
            result = np.empty((num_images, *pixels.shape), np.uint8)
        if pixels.shape != result.shape[1:]:
            raise UserError(
                f"images differ in size: {first} is {_sides(result[0])}, {name} is "
                f"{_sides(pixels)}: set config.data.image_size to crop and resize all"
            )
        result[i] = pixels
    return result


def require_memory(
    name: str, shape: tuple[int, ...], num_images: int, also: str = ""
) -> None:
    """Raises a UserError unless images fit the memory that is free, before it is taken.

    Args:
      name: of the first of them.
      shape: (H, W, C) of each.
      num_images: that are in memory at once.
      also: what helps, beside `image_size`.
    """
    wanted, free = num_images * math.prod(shape), psutil.virtual_memory().available
    if wanted > free:
        raise UserError(
            f"{name} is {shape[0]}x{shape[1]}, and {num_images:,} images like it take "
            f"{wanted / 1e9:,.1f} GB of memory, of which {free / 1e9:,.1f} GB are "
            f"free: set config.data.image_size to crop and resize all{also}"
        )


def as_viewed(name: str, image: Image.Image) -> Image.Image:
    """A Pillow image as a viewer shows it on a white page, of mode L or RGB.

    It is loaded where it is not yet: what stands behind the pixels of a file counts.

    Raises:
      UserError: a file that is broken; grey levels of which white is not known; an
        animated PNG; a transparent colour on an unknown scale.
    """
    try:
        return _viewed(name, image)
    except (UserError, MemoryError):
        raise
    # Pillow raises whatever its decoders stumble over.
    except Exception as error:
        raise _broken(name, error) from error


def _viewed(name: str, image: Image.Image) -> Image.Image:
    # Other formats tell by their names that there may be frames; see folder_checks.
    if image.format == "PNG" and getattr(image, "is_animated", False):
        raise UserError(
            f"{name} is an animated PNG, and nothing says which of its frames is "
            "meant: store that frame alone"
        )
    depth = depth_of(image)
    if depth is not None:  # a PNG that is not loaded yet
        _check_sums(image)
    if depth == 16 and image.mode == "RGB" and "transparency" in image.info:
        image = without_key(image)
    image.load()  # opening alone reads no further than the header
    scale_key(name, image, depth)
    turn = _TURNS.get(_orientation(image))
    if image.format == "BMP" and image.mode == "RGBA":
        image = _seen(image)
    image = _flat(name, image)
    return image if turn is None else image.transpose(turn)


def _check_sums(image: Any) -> None:
    """Compares the checksums of a PNG, as Pillow does of what stands before the pixels.

    Without, one flipped bit in a hundred gives other pixels and no error.
    """
    file = image.fp
    file.seek(image.tile[0][2] - 8)  # where the first chunk of pixels begins
    while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
        data = file.read(int.from_bytes(head[:4]))
        stored = file.read(4)
        # One that is cut short is for Pillow to judge.
        if len(stored) == 4 and zlib.crc32(data, zlib.crc32(head[4:])) != (
            int.from_bytes(stored)
        ):
            raise ValueError(f"the checksum of {head[4:]!r} is wrong")


def opened(name: str, content: bytes) -> Image.Image:
    """The image of a file, of which Pillow has read the header only."""
    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    except MemoryError:
        raise
    except Exception as error:
        raise _broken(name, error, content) from error


def upright(name: str, content: bytes) -> Image.Image:
    """The image of a file as a viewer shows it on a white page."""
    return as_viewed(name, opened(name, content))


def _orientation(image: Image.Image) -> int:
    """Orientation of the camera, 1 to 8; 1 where it is not stored."""
    if _NOTES.isdisjoint(image.info):  # parsing nothing takes a tenth of a small JPEG
        return 1
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # notes of a camera that are damaged, as viewers do
        return 1


def _seen(image: Image.Image) -> Image.Image:
    """Without an alpha channel that would hide all of the image."""
    bands: Any = image.getextrema()
    return image if bands[3][1] else image.convert("RGB")


def _flat(name: str, image: Image.Image) -> Image.Image:
    """Without depth, transparency and palette: of mode L or RGB."""
    wanted = "L" if image.mode in GREY_MODES else "RGB"
    # A PGM of 16 bits has the mode of 32, which its format does not have.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        return _eight_bits(image)
    if image.mode in ("I", "F"):
        raise UserError(
            f"{name} has grey levels of 32 bits (mode {image.mode}), of which nothing "
            "says where black and white are: store it with 8 or 16 bits"
        )
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, WHITE)
        ground.alpha_composite(image.convert("RGBA"))
        image = ground
    return image if image.mode == wanted else image.convert(wanted)


def _eight_bits(image: Image.Image) -> Image.Image:
    """The highest 8 bits of deep grey; Pillow leaves it as the file has it."""
    levels = np.asarray(image)
    bits, white_is_zero = _grey_of_tiff(image)
    pixels = (levels >> (bits - 8)).astype(np.uint8)
    if white_is_zero:
        pixels = 255 - pixels
    if (key := image.info.get("transparency")) is not None:
        pixels[levels == key] = WHITE[0]
    return Image.fromarray(pixels)


def _grey_of_tiff(image: Image.Image) -> tuple[int, bool]:
    """(bits of a level, whether 0 is white) of deep grey; (16, False) where untold."""
    tags = getattr(image, "tag_v2", {})
    (bits,) = tags.get(TiffImagePlugin.BITSPERSAMPLE, (16,))
    return bits, tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0


def _pixels(image: Any, channels: int) -> np.ndarray:
    if isinstance(image, Raw):
        return image.pixels
    width, height = image.size
    # A fifth faster than np.asarray(image).
    flat = np.frombuffer(image.tobytes(), np.uint8)
    return flat.reshape(height, width, channels)


def _sides(pixels: np.ndarray) -> str:
    return f"{pixels.shape[0]}x{pixels.shape[1]}"


def _broken(name: str, error: Exception, content: bytes | None = None) -> UserError:
    """The sentence for a file that Pillow does not open (`content`) or decode."""
    most = Image.MAX_IMAGE_PIXELS
    if most and isinstance(error, Image.DecompressionBombError):
        return UserError(
            f"{name} has more than {2 * most:,} pixels, which are not "
            f"decoded ({str(error).split(',')[0]}): shrink or remove it"
        )
    reason = " ".join(str(error).split()) or type(error).__name__
    if content == b"":
        reason = "it is empty"
    elif content and content.startswith(_LFS):
        reason = "it is a pointer of Git LFS: fetch the file with `git lfs pull`"
    elif isinstance(error, Image.UnidentifiedImageError):
        reason = f"it is none of {', '.join(FORMATS)}"
    return UserError(f"{name} is not a readable image ({reason}): replace or remove it")
