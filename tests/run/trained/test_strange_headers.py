"""Headers of exported nets that nobody exported: one sentence, or the same net."""

import json
import random

import numpy as np
import pytest
import safetensors.numpy

from cnnjax.data.preprocess import Preprocess
from cnnjax.data.standardize import CONSTANTS, STANDARDIZE, measure
from cnnjax.errors import UserError
from cnnjax.run.trained.export import export, load_export
from cnnjax.run.trained.kinds import FED
from cnnjax.run.trained.load import load_run
from tests.record_fuzz import edits, text_of
from tests.run.tiny import fit, tiny_run

SECTIONS = ("architecture", "classes", "preprocessing", "training")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    fit(tiny_run(), folder / "run")
    export(load_run(folder / "run", "last"), folder / "net.safetensors", "safetensors")
    return folder / "net.safetensors"


def read_edited(exported, tmp_path, section, few):
    with safetensors.safe_open(exported, "numpy") as file:
        header = file.metadata()
    arrays = safetensors.numpy.load_file(exported)
    cases = list(edits(json.loads(header[section])))
    cases = random.Random(section).sample(cases, min(few, len(cases)))
    path = tmp_path / "edited.safetensors"
    for what, edited in cases:
        text = text_of(edited())
        safetensors.numpy.save_file(arrays, path, header | {section: text})
        try:
            load_export(path)
        except UserError:
            pass
        except Exception as error:
            raise AssertionError(f"{section}: {what}") from error


@pytest.mark.parametrize("section", SECTIONS)
def test_a_few_edits(exported, tmp_path, section):
    read_edited(exported, tmp_path, section, 4)


@pytest.mark.slow
@pytest.mark.parametrize("section", [*SECTIONS, "config"])
def test_every_edit(exported, tmp_path, section):
    read_edited(exported, tmp_path, section, 10_000)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "null"])
def test_a_section_that_is_no_record(exported, tmp_path, text):
    with safetensors.safe_open(exported, "numpy") as file:
        header = file.metadata() | {"architecture": text}
    path = tmp_path / "edited.safetensors"
    safetensors.numpy.save_file(safetensors.numpy.load_file(exported), path, header)
    with pytest.raises(UserError, match="no whole export of cnnjax"):
        load_export(path)


@pytest.mark.parametrize(
    ("section", "place", "value", "words"),
    [
        ("classes", (), ["a"] * 10, "names 10 classes of a net with 3 outputs"),
        ("classes", (), ["a"], "names 1 classes of a net with 3 outputs"),
        ("preprocessing", ("std",), [0.0] * 3, "std that is none of images of"),
        ("preprocessing", ("std",), [0.1, 0.1, -0.1], "std that is none of"),
        ("preprocessing", ("std",), [0.1, 0.1, 1e-60], "std that is none of"),
        ("preprocessing", ("std",), 0.1, "std that is none of images of"),
        ("preprocessing", ("mean",), [2.0] * 3, "mean that is none of images of"),
        ("preprocessing", ("per_image",), True, "something else than 'channel' says"),
        ("preprocessing", ("standardize",), "none", "something else than 'none' says"),
        ("preprocessing", ("standardize",), "x", "has no standardisation 'x'"),
        ("config", ("model", "widths"), [7], "has the config of another net"),
        ("config", ("norm", "kind"), "layer", "has the config of another net"),
        ("config", ("augment", "standardize"), "none", "other than the 'none'"),
    ],
)
def test_sections_that_contradict_each_other(
    exported, tmp_path, section, place, value, words
):
    with safetensors.safe_open(exported, "numpy") as file:
        header = file.metadata()
    edited = json.loads(header[section])
    if place:
        *above, last = place
        at = edited
        for key in above:
            at = at[key]
        assert at[last] != value
        at[last] = value
    else:
        edited = value
    header[section] = json.dumps(edited)
    path = tmp_path / "edited.safetensors"
    safetensors.numpy.save_file(safetensors.numpy.load_file(exported), path, header)
    with pytest.raises(UserError, match=words):
        load_export(path)


@pytest.mark.parametrize("standardize", STANDARDIZE)
@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 2, 1), (3, 5, 3)])
def test_what_is_measured_fits_its_record(standardize, shape):
    """Also where a channel is constant, or nearly so."""
    if standardize in CONSTANTS and shape[-1] != 3:
        return  # of three colours
    images = np.zeros((1000, *shape), np.uint8)
    images[0, 0, 0, 0] = 1
    fed = Preprocess(shape, standardize, measure(standardize, images)).record()
    flaws = []
    assert FED.sift(json.loads(json.dumps(fed)), "", flaws) == fed
    assert not flaws


def test_texts_of_others_are_no_terminal_codes(exported, tmp_path):
    with safetensors.safe_open(exported, "numpy") as file:
        header = file.metadata()
    training = json.loads(header["training"])
    training["arm"] = "\x1b]0;owned\x07\x1b[2Jarm\u202e"
    training["note"] = "\x1b[31mred\r\nsecond line\u2028third"
    header["training"] = json.dumps(training)
    path = tmp_path / "edited.safetensors"
    safetensors.numpy.save_file(safetensors.numpy.load_file(exported), path, header)
    net = load_export(path)
    assert (net.arm, net.note) == (training["arm"], training["note"])
    for shown in (repr(net), str(net), net.words(), repr(net.preprocess)):
        assert shown.isprintable()
    assert r"\x1b]0;owned\x07\x1b[2Jarm\u202e" in net.words()
    assert r"(\x1b[31mred second line third)" in repr(net)
