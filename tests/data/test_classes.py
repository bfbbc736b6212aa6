"""A part of the classes of a set, as a set of its own."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from cnnjax.data.published_sizes import describe_dataset
from cnnjax.errors import UserError
from tests.data.loading import load, request


def test_images_of_the_chosen_classes_with_labels_in_their_order():
    chosen = load("digits", classes=("7", "2"), num_validation=-1, num_test=-1)
    assert chosen.class_names == ("7", "2")
    assert chosen.num_classes == 2
    table = load_digits()
    for label, digit in enumerate((7, 2)):
        images = chosen.train.images[chosen.train.labels == label]
        expected = table.images[table.target == digit] * (255 / 16)
        np.testing.assert_array_equal(images[..., 0], np.rint(expected))
    assert len(chosen.train) == (np.isin(table.target, (2, 7))).sum()


def test_the_choice_is_part_of_the_fingerprint():
    few, others = (load("digits", classes=c) for c in (("0", "1"), ("1", "0")))
    assert len({few.fingerprint, others.fingerprint, load("digits").fingerprint}) == 3


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (("0", "ten"), "unknown class of digits 'ten'"),
        (("0", "0"), "each once"),
        (("0",), "at least two"),
    ],
)
def test_what_is_no_choice_is_refused(classes, words):
    with pytest.raises(UserError, match=words):
        load("digits", classes=classes)


def test_a_set_that_is_not_there_is_planned_with_its_share():
    wanted = request("cifar10", classes=("cat", "dog"), num_validation=-1)
    dataset, note = describe_dataset(wanted)
    assert note
    assert dataset.class_names == ("cat", "dog")
    assert (len(dataset.train), len(dataset.test)) == (10_000, 2_000)
