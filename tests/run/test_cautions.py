"""What is said of a config before training, and what is not."""

import dataclasses

import jax
import numpy as np
import pytest

from cnnjax.ablation.execute.dry_run import estimate
from cnnjax.ablation.plan import load_ablation, make_plan
from cnnjax.data.order import batch_indices
from cnnjax.data.published_sizes import describe_dataset
from cnnjax.data.request import Request
from cnnjax.run.cautions import cautions, cautions_of_arms
from cnnjax.run.setup import set_up
from tests.run.tiny import tiny_config, tiny_run
from tests.slow import slow

STEP = {"schedule__kind": "step", "schedule__boundaries": (4.0, 7.0)}

# Changes of a run of nine steps, three an epoch; the check, and words of its sentence.
SAID = [
    (STEP | {"train__steps": 5}, "boundaries", ["4, 7", "at step 5", "changes at 7"]),
    (STEP | {"train__steps": 4}, "boundaries", ["step 4", "the rate stays at 0.1"]),
    (
        STEP | {"train__steps": 0, "train__epochs": 1.0},
        "boundaries",
        ["ends at step 3", "fraction"],
    ),
    (STEP | {"train__batch_size": 24}, None, []),
    (
        STEP | {"train__steps": 0, "train__epochs": 3.0, "train__batch_size": 12},
        "boundaries",
        ["ends at step 6", "changes at 7"],
    ),
    ({"schedule__kind": "step"}, "boundaries", ["32,000, 48,000", "step 9"]),
    ({"schedule__kind": "cosine"}, None, []),
    (
        STEP | {"schedule__unit": "epochs", "schedule__boundaries": (1.0, 3.0)},
        "boundaries",
        ["3, 9", "nothing changes at 9"],
    ),
    (STEP | {"schedule__warmup": 4.0}, "warmup", ["step 4", "stays at its peak"]),
    (STEP | {"schedule__warmup": 3.0}, None, []),
    ({"schedule__warmup": 0.4}, "warmup", ["0.4 (steps)", "no warm-up"]),
    (
        {"schedule__kind": "linear", "schedule__final_learning_rate": 0.5},
        "rates",
        ["final_learning_rate=0.5", "learning_rate=0.1"],
    ),
    (
        {"schedule__warmup": 2.0, "schedule__warmup_learning_rate": 0.2},
        "rates",
        ["warmup_learning_rate=0.2"],
    ),
    ({"start__unfreeze_epochs": 3.0}, "unfreezing", ["at step 9", "never train"]),
    ({"start__unfreeze_epochs": 2.0}, None, []),
    ({"train__batch_size": 25}, "batch", ["is 25", "24 training images"]),
    ({"train__batch_size": 24}, None, []),
    ({"eval__batch_size": 500}, None, []),
    (
        {"train__steps": 0, "train__epochs": 0.1},
        "budget",
        ["epochs=0.1", "8 images", "one step"],
    ),
    ({"norm__examples_per_statistic": 1}, "statistic", ["one image"]),
    ({"train__batch_size": 1}, "statistic", ["batch_size"]),
    ({"norm__kind": "none", "train__batch_size": 1}, None, []),
    (
        {
            "augment__mixup_alpha": 0.2,
            "train__batch_size": 1,
            "norm__kind": "none",
        },
        "mixup",
        ["mixup_alpha"],
    ),
    ({"data__num_validation": 25}, "validation", ["25 images", "24 for training"]),
    ({"data__num_train": 2}, "classes", ["of 3 classes", "2 for training"]),
    ({"log__every_epochs": 4.0}, "intervals", ["3 epochs", "log.every_epochs=4"]),
    ({"eval__every_epochs": 3.4}, "intervals", ["eval.every_epochs=3.4"]),
    ({"eval__every_epochs": 3.0}, None, []),
    ({"eval__every_epochs": 0.0}, None, []),
    ({"eval__every_epochs": 9.0, "data__num_validation": 0}, None, []),
    ({"checkpoint__every_epochs": 9.0}, None, []),  # nine steps are not lost much
    (
        {"checkpoint__every_epochs": 2000.0, "train__steps": 5000},
        "intervals",
        ["checkpoint.every_epochs=2000"],
    ),
]


def quiet(changes):
    """Rows of a run are as many as its length allows, unless the case is about them."""
    return {"log__every_epochs": 1e-6, "eval__every_epochs": 0.0} | changes


@pytest.mark.parametrize(("changes", "check", "words"), SAID)
def test_one_sentence_for_what_is_hardly_meant(changes, check, words):
    found = cautions(tiny_run(**quiet(changes)))
    found = {k: v for k, v in found.items() if check is None or k == check}
    assert list(found) == ([] if check is None else [check])
    for word in words:
        assert word in found[check]
        assert "\n" not in found[check]


@pytest.mark.parametrize("steps", [1, 3, 4, 5, 7, 8, 9])
def test_boundaries_are_named_when_the_rate_never_gets_there(steps):
    run = tiny_run(**STEP, train__steps=steps)
    rates = np.unique(run.schedule(np.arange(steps)))
    assert ("boundaries" in cautions(run)) == (len(rates) < 3)


@pytest.mark.parametrize("size", [23, 24, 25])
def test_a_large_batch_sees_images_twice(size):
    run = tiny_run(train__batch_size=size, train__steps=1)
    seen = np.asarray(batch_indices(jax.random.key(0), 0, size, 24))
    assert ("batch" in cautions(run)) == (len(np.unique(seen)) < seen.size)


def test_classes_without_a_training_image_are_named():
    run = tiny_run()
    taken = run.dataset.contents.taken | {"train": ("train", np.array([8, 0, 16]))}
    data = dataclasses.replace(
        run.dataset,
        contents=dataclasses.replace(run.dataset.contents, taken=taken),
        class_names=("cat", "dog", "eel"),
    )
    said = cautions(dataclasses.replace(run, dataset=data))["classes"]
    assert "1 of 3 classes (dog) have no image among the 24" in said


def test_classes_of_data_that_is_read_later():
    """Where labels are not known, only fewer images than classes are certain."""
    config = tiny_config(data__num_train=2)
    data, _ = describe_dataset(Request(**config.data))
    (absent,) = set(range(3)) - set(data.train.read(np.arange(2))[1].tolist())
    said = cautions(set_up(config, data))["classes"]
    assert f"1 of 3 classes ({data.class_names[absent]}) have no image" in said
    declared = dataclasses.replace(data, contents=None)
    said = cautions(set_up(config, declared))["classes"]
    assert "1 of 3 classes have no image" in said
    config = tiny_config()
    data, _ = describe_dataset(Request(**config.data))
    assert "classes" not in cautions(set_up(config, data))


def test_arms_share_a_sentence():
    short = {"train__steps": 4, "log__every_epochs": 5.0}
    runs = {f"arm-{i}": tiny_run(**STEP | short, seeds__first=i) for i in (0, 1)}
    (said,) = cautions_of_arms(runs)
    assert said.startswith("arm-0 (and 1 more): config.schedule.boundaries")


@pytest.mark.parametrize("name", [slow("degradation"), slow("inception"), "data_size"])
def test_our_own_scales_have_nothing_to_be_said(name):
    options = {"num_seeds": 1, "data_dir": "", "workdir": "none", "changes": {}}
    plan = make_plan(load_ablation(name), "smoke", **options)
    assert not [note for note in estimate(plan).notes if note.startswith("note: ")]
