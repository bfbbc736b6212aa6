"""Pillow images that a user opened, loaded or copied: as their files, or refused."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from cnnjax.data.images import FORMATS, as_viewed
from cnnjax.errors import UserError
from tests.data.test_images import (
    COLOUR,
    DEEP,
    GREY,
    bmp_with_alpha,
    chunk,
    decoded,
    encoded,
    raw_png,
)

_XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/'
    '22-rdf-syntax-ns#"><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
    'tiff:Orientation="{}"/></rdf:RDF></x:xmpmeta>'
)
HEAD, END = 33, 12  # bytes up to IHDR and of IEND


def notes(orientation):
    """Chunks of PNG in which an orientation may stand."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    yield "eXIf", chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    xmp = _XMP.format(orientation).encode()
    yield "XMP", chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)


def turned():
    for kind in ("JPEG", "WEBP", "TIFF", "PNG"):
        exif = Image.Exif()
        exif[0x0112] = 6
        yield f"{kind}, turned", encoded(COLOUR, kind, exif=exif)
    png = encoded(COLOUR)
    for orientation in (3, 6):
        for name, note in notes(orientation):
            yield f"{name} {orientation} first", png[:HEAD] + note + png[HEAD:]
            yield f"{name} {orientation} last", png[:-END] + note + png[-END:]


def with_key(depth, colour, levels, key):
    """A PNG one pixel high; `levels` fill whole bytes."""
    bits = "".join(format(level, f"0{depth}b") for level in levels)
    row = int(bits, 2).to_bytes(len(bits) // 8, "big")
    channels = 3 if colour == 2 else 1
    tag = chunk(b"tRNS", struct.pack(f">{channels}H", *[key] * channels))
    width = len(levels) // channels
    return raw_png(width, 1, depth, colour, [row], tag)


def keyed():
    yield "1 bit", with_key(1, 0, [0, 1] * 4, 0)
    yield "2 bits, not held", with_key(2, 0, [0, 1, 0, 3], 2)
    yield "4 bits, black", with_key(4, 0, range(16), 0)
    yield "8 bits", with_key(8, 0, range(16), 3)
    yield "8 bits, beside multiples of 17", with_key(8, 0, [0, 3, 51, 255], 3)
    yield "8 bits, not held", with_key(8, 0, [0, 1, 51, 255], 3)
    yield "16 bits", with_key(16, 0, [0, 515, 256, 65535], 515)
    yield "8 bits of colour", with_key(8, 2, np.repeat([0, 3, 255], 3), 3)


def test_16_bits_of_colour_are_compared_with_all_their_bits():
    """Pillow keeps the high bytes: near black, other pixels were transparent too."""
    levels = np.repeat([0, 5, 6, 255, 515, 512, 65535], 3)
    for key, hidden in ((5, 1), (515, 4), (0, 0), (7, None), (65535, 6)):
        content = with_key(16, 2, levels, key)
        want = np.repeat(levels[None, ::3] >> 8, 3).reshape(1, -1, 3)
        if hidden is not None:
            want[0, hidden] = 255
        np.testing.assert_array_equal(decoded(content), want)
        result = as_viewed("image", opened(content))
        np.testing.assert_array_equal(np.asarray(result), want)
    # Channels count by themselves.
    mixed = with_key(16, 2, [5, 5, 6, 5, 5, 5], 5)
    np.testing.assert_array_equal(decoded(mixed)[0, :, 0], [0, 255])
    _, note = next(notes(6))  # behind the pixels
    turned = decoded(mixed[:-END] + note + mixed[-END:])
    np.testing.assert_array_equal(turned[:, 0, 0], [0, 255])


def test_16_bits_of_colour_that_were_loaded_are_refused_where_bits_are_lacking():
    content = with_key(16, 2, np.repeat([0, 515, 65535], 3), 515)
    sentence = "the image was loaded before, .*: give it as Image.open returns it"
    for given in (loaded(content), opened(content).copy()):
        with pytest.raises(UserError, match=sentence):
            as_viewed("the image", given)
    clear = with_key(16, 2, np.repeat([0, 515, 65535], 3), 1000)
    result = np.asarray(as_viewed("image", loaded(clear)))
    np.testing.assert_array_equal(result[0, :, 0], [0, 2, 255])


def others():
    for kind in FORMATS:
        yield kind, encoded(COLOUR, kind)
    yield "grey GIF", encoded(GREY, "GIF", transparency=int(np.asarray(GREY)[0, 0]))
    yield "palette", encoded(COLOUR.quantize(9), transparency=3)
    yield "deep", encoded(Image.fromarray(DEEP))
    yield "deep TIFF", encoded(Image.fromarray(DEEP), "TIFF")
    clear = np.dstack([np.asarray(COLOUR), np.zeros((7, 5), np.uint8)])
    yield "BMP whose alpha nobody wrote", bmp_with_alpha(clear)


CASES = [
    pytest.param(content, id=name)
    for cases in (turned, keyed, others)
    for name, content in cases()
]


def opened(content):
    return Image.open(io.BytesIO(content))  # of any format, as users do


def loaded(content):
    image = opened(content)
    image.load()
    return image


@pytest.mark.parametrize("content", CASES)
def test_an_opened_image_is_its_file(content):
    image = opened(content)
    want = decoded(content)
    for given in (image, image, loaded(content)):
        result = np.asarray(as_viewed("image", given).convert("RGB"))
        np.testing.assert_array_equal(result, want)


@pytest.mark.parametrize(
    "content",
    [
        with_key(4, 0, range(16), 3),
        with_key(2, 0, range(4), 1),
        with_key(16, 2, np.repeat([0, 5, 65535], 3), 5),
    ],
    ids=["4 bits", "2 bits", "16 bits of colour"],
)
def test_a_transparent_colour_on_a_scale_that_pillow_has_forgotten(content):
    want = decoded(content)
    assert (want == 255).all(-1).sum() > 1  # white, and what is transparent
    image = opened(content)
    for given in (image, image):  # the second time it is loaded, by us
        result = np.asarray(as_viewed("image", given).convert("RGB"))
        np.testing.assert_array_equal(result, want)
    sentence = "the image was loaded before, .*: give it as Image.open returns it"
    for given in (loaded(content), opened(content).copy()):
        with pytest.raises(UserError, match=sentence):
            as_viewed("the image", given)


@pytest.mark.parametrize(
    "content", [encoded(COLOUR.resize((99, 99)))[:-9000], encoded(COLOUR, "BMP")[:-50]]
)
def test_a_file_that_breaks_on_loading_is_a_sentence(content):
    with pytest.raises(UserError, match="the image is not a readable image"):
        as_viewed("the image", opened(content))
    closed = opened(content)
    closed.close()
    with pytest.raises(UserError, match="the image is not a readable image"):
        as_viewed("the image", closed)


# -- checksums of PNG ------------------------------------------------------------------


def test_a_flipped_bit_of_a_png_is_found_or_changes_nothing():
    """One in a hundred gave other pixels, of drawings more."""
    rng = np.random.default_rng(0)
    for image in (COLOUR.resize((32, 32)), GREY.resize((32, 32), Image.Resampling.BOX)):
        content = encoded(image)
        want, found = decoded(content), 0
        for place in rng.integers(8, len(content), 200):
            damaged = bytearray(content)
            damaged[place] ^= 1 << rng.integers(8)
            try:
                np.testing.assert_array_equal(decoded(bytes(damaged)), want)
            except UserError:
                found += 1
        assert found > 150


def test_a_checksum_that_is_wrong_is_named():
    """Of what holds pixels, and of what stands behind them and may turn them."""
    png = encoded(COLOUR)
    _, note = next(notes(6))
    cut = {
        "IDAT": png[: -END - 1] + bytes([png[-END - 1] ^ 1]) + png[-END:],
        "eXIf": png[:-END] + note[:-1] + bytes([note[-1] ^ 1]) + png[-END:],
    }
    for kind, content in cut.items():
        sentence = rf"file is not a readable image \(the checksum of b'{kind}' is wrong"
        with pytest.raises(UserError, match=sentence):
            decoded(content)
        with pytest.raises(UserError, match="the checksum of"):
            as_viewed("file", opened(content))


def test_what_stands_behind_the_end_of_a_png_or_is_missing_there():
    want = decoded(encoded(COLOUR))
    for content in (
        encoded(COLOUR)[:-END],
        encoded(COLOUR)[:-3],
        encoded(COLOUR) + b"more\0\0\0\0and more",
    ):
        np.testing.assert_array_equal(decoded(content), want)
