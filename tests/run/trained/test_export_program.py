"""`./launch.sh export` as its user sees it, and the example of docs/weights.md."""

import re
from pathlib import Path

import numpy as np

from tests.run.tiny import fit, tiny_run

ROOT = Path(__file__).parents[3]


def test_a_run_of_the_docs(tmp_path, programs, here, monkeypatch):
    """Its commands and its code, on a small run in the place of theirs."""
    run = tiny_run()
    fit(run, here / "runs/mine", name="mine")
    text = (ROOT / "docs/weights.md").read_text("utf-8")
    commands = re.findall(r"    \./launch\.sh export (.*?)(?:  #.*)?\n", text)
    assert len(commands) == 2
    ended = programs.run(here, "export", *commands[0].split())
    assert ended.code == 0, ended.err
    first, names, preprocessing, note = ended.out.splitlines()
    assert first.startswith(
        "mine.safetensors: mlp (widths=(6,), norm=batch) of mine, seed 0: "
    )
    assert "weights best on validation, step" in first
    assert "test error" in first
    assert names.endswith("cnnjax")
    assert "divided by 255, minus mean" in preprocessing
    assert note.startswith("note: synthetic")
    # The second is for a net that torchvision has.
    ended = programs.run(here, "export", *commands[1].split())
    assert (ended.code, ended.err.count("error: ")) == (2, 1)
    assert "no source has" in ended.err
    again = programs.run(here, "export", *commands[0].split())
    assert "mine.safetensors exists already" in again.err

    monkeypatch.chdir(here)
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    known = {"images": run.dataset.test.images}
    exec(code, known)
    assert known["logits"].shape == (10, 3)
    assert known["name"] in run.dataset.class_names
    again = known["again"]
    logits = again.network.apply(
        again.variables, again.preprocess(known["images"]), train=False
    )
    np.testing.assert_array_equal(logits, known["logits"])
