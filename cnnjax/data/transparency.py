"""The transparent colour of PNGs, on the scale of the pixels that Pillow gives."""

from typing import Any

import numpy as np
from PIL import Image

from cnnjax.errors import UserError

WHITE = (255, 255, 255, 255)
# Mode -> bits of a level, beside 8, that PNGs of it may have.
_DEPTHS = {"L": (2, 4), "RGB": (16,)}


def depth_of(image: Image.Image) -> int | None:
    """Bits of a level in a PNG, which Pillow forgets on loading; None if unknown."""
    tiles = getattr(image, "tile", ()) if image.format == "PNG" else ()
    if not tiles:
        return None
    _, _, bits = str(tiles[0][3]).partition(";")  # such as 'L;4' and 'RGB;16B'
    return int(bits.rstrip("B") or 8)


def without_key(image: Any) -> Image.Image:
    """A PNG with 16 bits of colour, white where it has its transparent colour.

    Pillow keeps the high bytes alone, in which other pixels may be like that colour.
    """
    key, halves = np.asarray(image.info["transparency"]), []
    for raw in ("RGB;16L", "RGB;16B"):  # its low bytes, its high bytes
        twin: Any = Image.open(image.fp, formats=("PNG",))
        twin.tile = [tile._replace(args=raw) for tile in twin.tile]
        halves.append(np.asarray(twin))
    hidden = (halves[0] == key & 255) & (halves[1] == key >> 8)
    twin.paste(WHITE[:3], mask=Image.fromarray(hidden.all(-1)))
    del twin.info["transparency"]
    return twin


def scale_key(name: str, image: Image.Image, depth: int | None) -> None:
    """Puts the colour that a PNG declares transparent on the scale of its pixels.

    Pillow leaves it at the depth of the file, where it would match no pixel.

    Args:
      name: of the file, for the user.
      image: loaded; changed in place.
      depth: bits of a level in the file; None if unknown.

    Raises:
      UserError: it is unknown, and the colour may mean two.
    """
    key = image.info.get("transparency")
    # An image that was copied or cut out has no format.
    if key is None or image.mode not in _DEPTHS or image.format not in ("PNG", None):
        return
    keys = np.atleast_1d(key)
    if depth is None:
        depth = _depth_of_key(name, image, keys)
    keys = _in_bytes(keys, depth)
    image.info["transparency"] = (
        tuple(map(int, keys)) if len(keys) > 1 else int(keys[0])
    )


def _depth_of_key(name: str, image: Image.Image, keys: np.ndarray) -> int:
    """Bits of the transparent colour of an image that was loaded by others."""
    levels = np.asarray(image).reshape(-1, len(keys))
    if (levels == keys).all(axis=1).any():
        return 8
    for depth in _DEPTHS[image.mode]:
        held = depth == 16 or not (levels % (255 // (2**depth - 1))).any()
        if held and (levels == _in_bytes(keys, depth)).all(axis=1).any():
            raise UserError(
                f"{name} was loaded before, and Pillow no longer says how many bits "
                f"its transparent colour {image.info['transparency']} has: give it as "
                "Image.open returns it, or as an array"
            )
    return 8


def _in_bytes(keys: np.ndarray, depth: int) -> np.ndarray:
    return keys >> 8 if depth == 16 else keys * 255 // (2**depth - 1)
