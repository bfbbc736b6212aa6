import numpy as np
import pytest

from cnnjax.data.dataset import load_dataset
from cnnjax.data.published_sizes import DECLARED, describe_dataset
from cnnjax.errors import UserError

SECTION = {
    "data_dir": "",
    "num_train": 0,
    "num_validation": 0,
    "num_test": 0,
    "split_seed": 0,
    "image_size": 0,
    "num_classes": 0,
    "delivery": "auto",
}


@pytest.mark.parametrize("name", DECLARED)
def test_facts_stand_in_for_data_that_is_not_there(name):
    dataset, note = describe_dataset(name=name, **SECTION | {"image_size": 64})
    facts = DECLARED[name]
    assert facts.title in note
    assert len(dataset.train) == facts.pools["train"]
    assert len(dataset.test) == facts.pools["test"]
    assert dataset.num_classes == facts.num_classes
    assert dataset.image_shape == (64, 64, facts.image_shape[2])
    with pytest.raises(UserError, match="only declared"):
        dataset.train.read(np.arange(2))


def test_splits_are_carved_as_from_the_data():
    section = SECTION | {"num_train": 4000, "num_validation": 1000, "num_test": 500}
    dataset, _ = describe_dataset(name="cifar10", **section)
    sizes = [len(getattr(dataset, s)) for s in ("train", "validation", "test")]
    assert sizes == [4000, 1000, 500]
    with pytest.raises(UserError, match="only 50000"):
        describe_dataset(name="cifar10", **SECTION | {"num_train": 50_001})


def test_what_is_there_is_described_as_it_is():
    dataset, note = describe_dataset(name="digits", **SECTION)
    loaded = load_dataset("digits", **SECTION)
    assert note == ""
    assert dataset.image_shape == loaded.image_shape
    assert len(dataset.train) == len(loaded.train)


def test_what_is_neither_there_nor_declared_is_refused():
    with pytest.raises(UserError, match="did you mean 'cifar10'"):
        describe_dataset(name="cifar11", **SECTION)
    with pytest.raises(UserError, match="differ in size"):
        describe_dataset(name="folder", **SECTION)
