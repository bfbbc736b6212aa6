"""The sheet of augmentations: its rows, and its files."""

import re

import numpy as np
import pytest
from PIL import Image

from cnnjax.data.augment import OPERATIONS
from cnnjax.errors import UserError
from cnnjax.studies import augment_sheet, programs
from cnnjax.studies.augment_page import save_sheet
from cnnjax.studies.augment_sheet import Row, rows_of
from tests.run.tiny import tiny_config
from tests.slow import slow

FEW = ("flip", "crop_pad", "mixup_alpha", "hue")


@pytest.fixture
def few_operations(monkeypatch):
    """Each one is compiled."""
    few = {name: OPERATIONS[name] for name in FEW}
    monkeypatch.setattr(augment_sheet, "OPERATIONS", few)


def test_rows(few_operations):
    config = tiny_config(augment__flip=True, augment__crop_pad=2)
    rows = {row.title: row for row in rows_of(config, 3, 2)}
    assert list(rows) == [
        *("training images", "all together", "flip", "crop_pad=2"),
        *("mixup_alpha=0.4", "hue=0.1"),
    ]
    stored = rows["training images"].images[0]
    assert rows["all together"].detail == "flip, crop_pad"
    assert rows["crop_pad=2"].detail == "on in this config"
    assert "off in this config" in rows["hue=0.1"].detail
    for title, row in rows.items():
        assert row.images.shape[1:] == stored.shape
        assert len(row.images) == (1 if title == "training images" else 2)
    for draw in rows["flip"].images:
        for image, original in zip(draw, stored, strict=True):
            mirrored = np.abs(image.astype(int) - original[:, ::-1]).max() <= 1
            assert mirrored or np.abs(image.astype(int) - original).max() <= 1
    for captions in rows["mixup_alpha=0.4"].captions:
        for parts in captions:
            shares = [int(part.split("%")[0]) for part in parts]
            assert 98 <= sum(shares) <= 102


def test_grey_images_have_no_rows_of_colours(few_operations):
    config = tiny_config(data__channels=1, augment__standardize="image")
    titles = [row.title for row in rows_of(config, 2, 1)]
    assert "hue=0.1" not in titles
    assert "flip" in titles


@pytest.mark.parametrize("kind", ["none", "channel", "pixel_mean", "image"])
def test_images_are_shown_as_they_are_stored(monkeypatch, kind):
    monkeypatch.setattr(augment_sheet, "OPERATIONS", {})
    config = tiny_config(augment__standardize=kind)
    stored, unchanged = rows_of(config, 4, 1)
    assert unchanged.detail == "nothing is on in this config"
    np.testing.assert_allclose(unchanged.images[0], stored.images[0], atol=1)


@pytest.mark.parametrize(
    ("images", "draws", "changes", "words"),
    [
        (1, 2, {}, "--images is 1 .* give 2 to 32 images"),
        (4, 0, {}, "--draws is 0: .* 1 to 16 draws"),
        (4, 2, {"augment__rotation": 200.0}, "augment.rotation=200.0"),
    ],
)
def test_what_cannot_be_shown(images, draws, changes, words):
    with pytest.raises(UserError, match=words):
        list(rows_of(tiny_config(**changes), images, draws))


def test_files(tmp_path):
    """Names may hold anything; small images grow, large ones shrink."""
    images = np.zeros((2, 3, 8, 10, 1), np.uint8)
    captions = [[("60% <b>", "40% dög")] * 3] * 2
    rows = [Row("a < b", "", images), Row("c", "d & e", images, captions)]
    png, page = save_sheet("<title>", rows, tmp_path)
    with Image.open(png) as sheet:
        assert sheet.width >= 3 * 60
        assert sheet.getextrema() != ((255, 255),) * 3
    text = page.read_text()
    assert text.count("<img") == 12
    assert "60% &lt;b&gt;, 40% dög" in text
    assert "<b>" not in text
    assert 'width="60" height="48"' in text
    assert not re.search(r'(src|href)="(?!data:)', text)
    large = Row("", "", np.zeros((1, 2, 300, 400, 3), np.uint8))
    _, page = save_sheet("", [large], tmp_path)
    assert 'width="160" height="120"' in page.read_text()


def test_folder_and_program(few_operations, tmp_path, capsys):
    assert programs.show_augmentation(tiny_config(), tmp_path / "a", "tiny", 2, 1) == 0
    found = {path.name for path in (tmp_path / "a").iterdir()}
    assert found == {"augmentation.png", "augmentation.html", "written.json"}
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "notes.txt").touch()
    with pytest.raises(UserError, match=r"holds notes.txt, .* --workdir"):
        programs.show_augmentation(tiny_config(), tmp_path / "b", "tiny", 2, 1)


@pytest.mark.parametrize("kind", [slow("channel")])
def test_every_operation_has_a_row(kind):
    rows = list(rows_of(tiny_config(augment__standardize=kind), 2, 1))
    assert len(rows) == 2 + len(OPERATIONS)
