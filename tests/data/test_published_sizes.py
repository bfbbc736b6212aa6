import numpy as np
import pytest

from cnnjax.data.published_sizes import DECLARED, describe_dataset
from cnnjax.errors import UserError
from tests.data.loading import load, request


@pytest.mark.parametrize("name", DECLARED)
def test_facts_stand_in_for_data_that_is_not_there(name):
    dataset, note = describe_dataset(request(name, image_size=64))
    facts = DECLARED[name]
    assert facts.title in note
    assert len(dataset.train) == facts.pools["train"]
    assert len(dataset.test) == facts.pools["test"]
    assert dataset.num_classes == facts.num_classes
    assert dataset.image_shape == (64, 64, facts.image_shape[2])
    with pytest.raises(UserError, match="only declared"):
        dataset.train.read(np.arange(2))


def test_splits_are_carved_as_from_the_data():
    sizes = {"num_train": 4000, "num_validation": 1000, "num_test": 500}
    dataset, _ = describe_dataset(request("cifar10", **sizes))
    sizes = [len(getattr(dataset, s)) for s in ("train", "validation", "test")]
    assert sizes == [4000, 1000, 500]
    with pytest.raises(UserError, match="only 50000"):
        describe_dataset(request("cifar10", num_train=50_001))


def test_what_is_there_is_described_as_it_is():
    dataset, note = describe_dataset(request("digits"))
    loaded = load("digits")
    assert note == ""
    assert dataset.image_shape == loaded.image_shape
    assert len(dataset.train) == len(loaded.train)


def test_what_is_neither_there_nor_declared_is_refused():
    with pytest.raises(UserError, match="did you mean 'cifar10'"):
        describe_dataset(request("cifar11"))
    with pytest.raises(UserError, match="differ in size"):
        describe_dataset(request("folder"))
