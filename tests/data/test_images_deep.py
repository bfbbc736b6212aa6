"""Grey of more than 8 bits whose tags or header say where black and white are."""

import struct

import numpy as np
import pytest

from cnnjax.errors import UserError
from tests.data.test_images import DEEP, decoded


def raw_tiff(width, height, bits, photometric, data, end="<"):
    """A grey TIFF by the specification: one strip, not compressed."""
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric)]
    tags += [(273, 0), (277, 1), (278, height), (279, len(data))]
    start = 8 + 2 + 12 * len(tags) + 4
    tags[5] = (273, start)
    mark = b"II*\0" if end == "<" else b"MM\0*"
    head = mark + struct.pack(f"{end}IH", 8, len(tags))
    for tag, value in tags:
        head += struct.pack(f"{end}HHIHH", tag, 3, 1, value, 0)  # 3 is uint16
    return head + struct.pack(f"{end}I", 0) + data


def twelve_bits(levels):
    """Packed, the first of each two levels in the higher bits."""
    number = sum(int(v) << 12 * i for i, v in enumerate(levels.reshape(-1)[::-1]))
    return number.to_bytes(levels.size * 12 // 8, "big")


def tiffs_of_deep_grey():
    deep, high = DEEP, DEEP // 256  # of 16 bits, and what is to be seen of them
    for end in "<>":
        yield f"16 bits {end}", deep.astype(f"{end}u2").tobytes(), 16, 1, end, high
    yield "16 bits, white is 0", deep.astype("<u2").tobytes(), 16, 0, "<", 255 - high
    yield "12 bits", twelve_bits(deep >> 4), 12, 1, "<", high
    yield "8 bits, white is 0", high.astype("u1").tobytes(), 8, 0, "<", 255 - high


@pytest.mark.parametrize(
    ("data", "bits", "photometric", "end", "want"),
    [pytest.param(*case, id=name) for name, *case in tiffs_of_deep_grey()],
)
def test_grey_of_tiffs_by_their_tags(data, bits, photometric, end, want):
    content = raw_tiff(4, 6, bits, photometric, data, end)
    np.testing.assert_array_equal(decoded(content, channels=1)[..., 0], want)


def test_depths_that_pillow_does_not_know_are_refused():
    """10 bits; and white at 0 of 12 bits, or of 16 in the other order of bytes."""
    for bits, photometric, end in ((10, 1, "<"), (12, 0, "<"), (16, 0, ">")):
        content = raw_tiff(4, 6, bits, photometric, bytes(24 * bits // 8), end)
        with pytest.raises(UserError, match="not a readable image"):
            decoded(content)


def test_levels_of_a_pgm_are_those_below_its_own_white():
    levels = np.array([[0, 1, 2047, 4095]], ">u2")
    content = b"P5 4 1 4095\n" + levels.tobytes()
    assert decoded(content, channels=1)[0, :, 0].tolist() == [0, 0, 127, 255]
