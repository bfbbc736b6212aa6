"""Headers of exported nets that nobody exported: one sentence, or the same net."""

import json
import random

import pytest
import safetensors.numpy

from cnnjax.errors import UserError
from cnnjax.run.trained.export import export, load_export
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
