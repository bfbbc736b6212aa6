"""Pixels of files: as a viewer shows them on white, checked against Pillow, NumPy and
torchvision; broken files are one sentence."""

import ast
import io
import re
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from cnnjax.data.images import (
    FORMATS,
    as_viewed,
    decode_all,
    decoded_shape,
    with_channels,
)
from cnnjax.errors import UserError
from tests.programs import ROOT

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (7, 5, 4), np.uint8)
COLOUR = Image.fromarray(PIXELS[..., :3])
GREY = Image.fromarray(PIXELS[..., 0])


def encoded(image, kind="PNG", **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def decoded(content, channels=3, size=0, convert=False):
    (image,) = decode_all([("file", content)], 1, channels, size, convert)
    return image


def chunk(kind, data):
    crc = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + crc


def raw_png(width, height, depth, colour, rows, *more):
    """A PNG by the specification, for what Pillow does not write."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [chunk(b"IHDR", header), *more, chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


# -- formats ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM"])
def test_lossless_formats(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    image = COLOUR.quantize(16).convert("RGB") if kind == "GIF" else COLOUR
    np.testing.assert_array_equal(decoded(encoded(image, kind, **options)), image)


def opaque_images():
    yield "CMYK", encoded(COLOUR.convert("CMYK"), "JPEG", quality=95)
    yield "JPEG", encoded(COLOUR, "JPEG")
    yield "grey JPEG", encoded(GREY, "JPEG")
    yield "palette", encoded(COLOUR.quantize(9))
    yield "1 bit", encoded(GREY.convert("1"))
    yield "YCbCr TIFF", encoded(COLOUR.convert("YCbCr"), "TIFF")
    yield (
        "two pictures of a phone",
        encoded(COLOUR, "MPO", save_all=True, append_images=[GREY.convert("RGB")]),
    )


@pytest.mark.parametrize(("name", "content"), list(opaque_images()))
def test_opaque_images_are_those_of_torchvision(name, content, tmp_path, torchvision):
    (tmp_path / "file").write_bytes(content)
    want = np.asarray(torchvision.folder.pil_loader(str(tmp_path / "file")))
    np.testing.assert_array_equal(decoded(content), want)


def of_two_frames(kind):
    frames = [Image.new("RGB", (4, 4), level) for level in ("red", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(
        frames[0], kind, save_all=True, append_images=frames[1:], **options
    )
    assert Image.open(io.BytesIO(content)).n_frames == 2
    return content


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF"])
def test_the_first_of_several_frames(kind):
    assert (decoded(of_two_frames(kind)) == [255, 0, 0]).all()


def test_an_animated_png_is_refused():
    """No list of names can warn of one, as it can of GIF, WebP and TIFF."""
    with pytest.raises(UserError, match=r"is an animated PNG.*store that frame alone"):
        decoded(of_two_frames("PNG"))
    decoded(encoded(COLOUR, "PNG", save_all=True))  # of one frame


def test_no_other_program_is_ever_started():
    """Pillow hands EPS to Ghostscript."""
    content = encoded(COLOUR, "EPS")
    assert Image.open(io.BytesIO(content)).format == "EPS"
    with pytest.raises(UserError, match="none of PNG, JPEG, WEBP"):
        decoded(content)
    assert not {"EPS", "PDF", "WMF", "FPX"} & set(FORMATS)


# -- 16 bits ---------------------------------------------------------------------------

DEEP = RNG.integers(0, 65536, (6, 4)).astype(np.uint16)
DEEP[0] = 0, 255, 256, 65535


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bits_of_grey(kind):
    content = encoded(Image.fromarray(DEEP), kind)
    want = DEEP // 256  # so 0 is black and 65,535 is white
    np.testing.assert_array_equal(decoded(content, channels=1)[..., 0], want)
    np.testing.assert_array_equal(decoded(content), np.stack([want] * 3, axis=-1))
    assert decoded_shape(content, "file", 0, 0) == (6, 4, 1)


def test_16_bits_of_grey_in_a_big_endian_tiff():
    content = encoded(Image.fromarray(DEEP.astype(">u2")), "TIFF")
    np.testing.assert_array_equal(decoded(content, channels=1)[..., 0], DEEP // 256)


def test_16_bits_of_grey_are_those_of_16_bits_of_colour():
    rows = [np.repeat(row, 3).astype(">u2").tobytes() for row in DEEP]
    content = raw_png(4, 6, 16, 2, rows)
    grey = decoded(encoded(Image.fromarray(DEEP)))
    np.testing.assert_array_equal(decoded(content), grey)


def test_16_bits_of_grey_are_those_of_torchvision(torchvision):
    from torchvision.transforms.v2 import functional

    torch = pytest.importorskip("torch")
    theirs = functional.to_dtype(torch.from_numpy(DEEP), torch.uint8, scale=True)
    ours = decoded(encoded(Image.fromarray(DEEP)), channels=1)
    np.testing.assert_array_equal(ours[..., 0], theirs.numpy())


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_deeper_grey_is_refused(dtype):
    content = encoded(Image.fromarray(DEEP.astype(dtype)), "TIFF")
    with pytest.raises(UserError, match=r"file has grey levels of 32 bits .*: store"):
        decoded(content)


# -- transparency ----------------------------------------------------------------------


def on_white(pixels, alpha):
    """What light does, in floating point."""
    share = alpha[..., None] / 255
    return share * pixels + (1 - share) * 255


def transparent_images():
    alpha = PIXELS[..., 3]
    rgba, grey = Image.fromarray(PIXELS), GREY.copy()
    grey.putalpha(Image.fromarray(alpha))
    grey_pixels = np.repeat(PIXELS[..., :1], 3, axis=-1)
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True})):
        yield f"RGBA {kind}", encoded(rgba, kind, **options), PIXELS[..., :3], alpha
    yield "RGBA TIFF", encoded(rgba, "TIFF"), PIXELS[..., :3], alpha
    yield "LA", encoded(grey), grey_pixels, alpha
    # Palettes and single colours that are transparent.
    palette = Image.fromarray(np.arange(35, dtype=np.uint8).reshape(7, 5) % 3)
    palette.putpalette([10, 20, 30, 200, 100, 0, 9, 9, 9])
    colours = np.asarray(palette.convert("RGB"))
    index = np.asarray(palette)
    for kind in ("PNG", "GIF"):
        alpha = np.where(index == 1, 0, 255)
        yield f"P {kind}", encoded(palette, kind, transparency=1), colours, alpha
    table = bytes([128, 0, 255])
    alpha = np.frombuffer(table, np.uint8)[index]
    yield "P, alpha each", encoded(palette, transparency=table), colours, alpha
    few = index.astype(np.uint8) * 100
    few_pixels = np.stack([few] * 3, axis=-1)
    alpha = np.where(index == 2, 0, 255)
    yield (
        "L, one level",
        encoded(Image.fromarray(few), transparency=200),
        few_pixels,
        (alpha),
    )
    key = (10, 20, 30)
    alpha = np.where(index == 0, 0, 255)
    image = palette.convert("RGB")
    yield "RGB, one colour", encoded(image, transparency=key), colours, alpha


TRANSPARENT = list(transparent_images())


@pytest.mark.parametrize(
    ("content", "pixels", "alpha"),
    [row[1:] for row in TRANSPARENT],
    ids=[row[0] for row in TRANSPARENT],
)
def test_a_transparent_ground_is_white(content, pixels, alpha):
    want = on_white(pixels.astype(float), alpha.astype(float))
    got = decoded(content)
    assert np.abs(got - want).max() < 1.01
    np.testing.assert_array_equal(got[alpha == 0], 255)
    np.testing.assert_array_equal(got[alpha == 255], pixels[alpha == 255])


@pytest.mark.parametrize(
    ("depth", "colour", "rows", "key", "want"),
    [
        # Levels 0 to 3 in 2 bits, where 1 is transparent; Pillow scales them to bytes.
        (2, 0, [bytes([0b00011011])], (1,), [0, 255, 170, 255]),
        (1, 0, [bytes([0b01010000])], (0,), [255, 255, 255, 255]),
        (16, 0, [struct.pack(">4H", 0, 515, 256, 65535)], (515,), [0, 255, 1, 255]),
        (
            16,
            2,
            [struct.pack(">12H", *[0] * 3, *[515] * 3, *[256] * 3, *[65535] * 3)],
            (515, 515, 515),
            [0, 255, 1, 255],
        ),
    ],
)
def test_one_transparent_colour_of_any_depth(depth, colour, rows, key, want):
    tag = chunk(b"tRNS", struct.pack(f">{len(key)}H", *key))
    got = decoded(raw_png(4, 1, depth, colour, rows, tag))
    np.testing.assert_array_equal(got[0, :, 0], want)
    np.testing.assert_array_equal(got[..., 0], got[..., 2])


# -- orientation -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_that_a_camera_noted(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(COLOUR, kind, exif=exif)
    stored = Image.open(io.BytesIO(content))
    want = ImageOps.exif_transpose(stored)
    assert want.size == ((5, 7) if orientation < 5 else (7, 5))
    np.testing.assert_array_equal(decoded(content), want)
    assert decoded_shape(content, "file", 0, 0) == (*want.size[::-1], 3)


def bmp_with_alpha(pixels):
    """A BMP of version 4, whose masks name an alpha channel; Pillow writes none."""
    height, width, _ = pixels.shape
    data = pixels[::-1, :, [2, 1, 0, 3]].tobytes()
    info = struct.pack("<IiiHHI", 108, width, height, 1, 32, 3)
    info += struct.pack("<IiiII", len(data), 2835, 2835, 0, 0)
    info += struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    info += b"BGRs" + bytes(48)
    start = 14 + len(info)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + info + data


def test_an_alpha_channel_of_a_bmp_that_nobody_wrote():
    pixels = PIXELS.copy()
    pixels[..., 3] = 0
    content = bmp_with_alpha(pixels)
    np.testing.assert_array_equal(decoded(content), pixels[..., :3])
    opened = as_viewed("file", Image.open(io.BytesIO(content)))
    np.testing.assert_array_equal(opened, pixels[..., :3])
    pixels[0, 0, 3] = 255  # one that somebody wrote
    want = np.full((7, 5, 3), 255)
    want[0, 0] = pixels[0, 0, :3]
    np.testing.assert_array_equal(decoded(bmp_with_alpha(pixels)), want)
    clear = Image.new("RGBA", (2, 2), (9, 9, 9, 0))
    assert (decoded(encoded(clear)) == 255).all()  # a PNG is meant so


def test_pillow_says_nothing_of_damaged_notes():
    """Warnings are errors here, which the filters of `images.py` must undo."""
    code = (
        "import sys, warnings; from cnnjax.data.images import decode_all;"
        "decode_all([('file', sys.stdin.buffer.read())], 1, 3, 0);"
    )
    exif = b"Exif\0\0II*\0 rubbish that is no table"
    content = encoded(COLOUR, "JPEG", exif=exif)
    with pytest.warns(UserWarning, match="Corrupt EXIF data"):
        Image.open(io.BytesIO(content)).getexif()
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, input=content, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_notes_that_are_damaged_are_no_reason_to_refuse():
    content = encoded(COLOUR, "JPEG", exif=b"Exif\0\0II*\0 rubbish that is no table")
    want = np.asarray(Image.open(io.BytesIO(encoded(COLOUR, "JPEG"))))
    np.testing.assert_array_equal(decoded(content), want)


# -- channels --------------------------------------------------------------------------


def test_channels():
    colour, grey = encoded(COLOUR), encoded(GREY)
    assert decoded_shape(grey, "file", 0, 0)[2] == 1
    assert decoded_shape(grey, "file", 0, 3)[2] == 3
    with pytest.raises(UserError, match=r"file is in colour.*config.data.channels to"):
        decoded(colour, channels=1)
    luma = np.asarray(COLOUR.convert("L"))[..., None]
    np.testing.assert_array_equal(decoded(colour, channels=1, convert=True), luma)
    np.testing.assert_array_equal(with_channels(PIXELS[None, ..., :3], 1)[0], luma)
    np.testing.assert_array_equal(
        with_channels(luma[None], 3)[0], np.repeat(luma, 3, -1)
    )


# -- broken files ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"no image", "it is none of PNG, JPEG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "it is none of PNG, JPEG"),
        (b"version https://git-lfs.github.com/spec/v1\n", "pointer of Git LFS"),
        (encoded(COLOUR.resize((99, 99)), "JPEG")[:-200], "truncated"),
        (encoded(COLOUR.resize((99, 99)))[:-2000], "truncated|broken"),
    ],
)
def test_what_is_no_image(content, reason):
    with pytest.raises(UserError) as raised:
        decoded(content)
    sentence = str(raised.value)
    assert sentence.startswith("file is not a readable image (")
    assert re.search(reason, sentence)
    assert " at 0x" not in sentence
    assert "\n" not in sentence


def test_an_image_of_too_many_pixels():
    content = raw_png(14_000, 13_000, 8, 2, [])  # the header alone says 182 megapixels
    sentence = r"file has more than 178,956,970 pixels, .*182000000.*: shrink or remove"
    with pytest.raises(UserError, match=sentence):
        decoded(content)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damage_is_always_one_sentence(kind):
    content = bytearray(encoded(COLOUR.resize((32, 32)), kind))
    rng = np.random.default_rng(1)
    sentences = []
    for _ in range(60):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 4):
            damaged[place] = rng.integers(256)
        damaged = damaged[: rng.integers(1, len(content) + 1)]
        try:
            decoded(bytes(damaged), size=8)
        except UserError as error:
            sentences.append(str(error))
    assert len(sentences) > 20
    assert not any(" at 0x" in sentence for sentence in sentences)


def test_pillow_is_always_told_what_it_may_open():
    """Without a list it would hand a file of another kind to another program."""
    calls = 0
    for folder in ("cnnjax", "experiments", "benchmarks", "configs"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text()
            assert "imread" not in text, path
            if "Image.open" not in text:
                continue
            for node in ast.walk(ast.parse(text)):
                called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
                if called.endswith("Image.open"):
                    calls += 1
                    assert "formats" in {k.arg for k in node.keywords}, path
    assert calls > 1
