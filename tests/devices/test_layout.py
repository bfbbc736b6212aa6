"""The planner: most devices busy, and sentences about numbers that do not divide."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnjax.devices.layout import (
    FEWEST_IMAGES,
    Layout,
    choose_layout,
    describe,
    nearest,
    parse_layout,
)
from cnnjax.errors import UserError


def choose(devices, seeds, batch, text="auto", microbatches=1, **more):
    return choose_layout(
        text,
        num_devices=devices,
        num_seeds=seeds,
        batch_size=batch,
        microbatches=microbatches,
        **more,
    )


@pytest.mark.parametrize(
    ("devices", "seeds", "batch", "expected"),
    [
        (1, 5, 128, (1, 1)),
        (8, 8, 128, (8, 1)),
        (8, 16, 128, (8, 1)),
        (8, 4, 128, (4, 2)),
        (8, 1, 128, (1, 8)),
        (8, 5, 128, (1, 8)),  # all eight for one seed after another, not five of them
        (8, 5, 16, (5, 1)),  # two images a device would be too few
        (6, 4, 128, (4, 1)),
        (7, 1, 128, (1, 4)),
        (256, 5, 1024, (5, 32)),
    ],
)
def test_the_layout_with_most_devices(devices, seeds, batch, expected):
    assert choose(devices, seeds, batch) == Layout(*expected)


@given(st.integers(1, 64), st.integers(1, 24), st.integers(1, 512), st.integers(1, 4))
def test_what_is_chosen_fits_and_nothing_larger_does(devices, seeds, batch, micro):
    batch *= micro
    chosen = choose(devices, seeds, batch, microbatches=micro)
    fitting = [
        Layout(s, d)
        for s in range(1, devices + 1)
        for d in range(1, devices + 1)
        if s * d <= devices
        and seeds % s == 0
        and batch % (d * micro) == 0
        and (d == 1 or batch // micro // d >= FEWEST_IMAGES)
    ]
    assert chosen in fitting
    assert chosen.num_devices == max(layout.num_devices for layout in fitting)


def test_a_layout_that_the_norm_refuses_is_not_chosen():
    def refuse(data):
        return "too many" if data > 2 else None

    assert choose(8, 1, 128, refuse=refuse) == Layout(1, 2)
    with pytest.raises(UserError, match="too many"):
        choose(8, 1, 128, "data=4", refuse=refuse)


def test_every_process_has_as_many_devices():
    assert choose(8, 2, 24, num_processes=4) == Layout(2, 2)
    with pytest.raises(UserError, match="4 devices, which do not divide over 3"):
        choose(9, 2, 24, "data=4", num_processes=3)
    with pytest.raises(UserError, match=r"1 seeds and batches of 7 .* 4 processes"):
        choose(4, 1, 7, num_processes=4)


def test_words_of_a_layout_are_read_back():
    for layout in (Layout(), Layout(4, 2), Layout(1, 8)):
        assert parse_layout(str(layout)) == layout
    assert parse_layout("data=8") == Layout(1, 8)
    assert parse_layout("seed=3") == Layout(3, 1)


@pytest.mark.parametrize("text", ["", "8", "seed", "seed=", "seed=0", "data=-1"])
def test_other_words_are_refused(text):
    with pytest.raises(UserError, match=r"layout is .* 'seed=4,data=2'"):
        parse_layout(text)


def test_numbers_that_do_not_divide_name_the_nearest_that_do():
    with pytest.raises(UserError, match=r"5 seeds .* 2 groups .* 4 and 6 .* 1, 5"):
        choose(8, 5, 64, "seed=2")
    with pytest.raises(UserError, match=r"batch of 20 .* 8 devices .* 16 and 24"):
        choose(8, 1, 20, "data=8")
    with pytest.raises(
        UserError, match=r"in 3 micro-batches .* 2 devices .* 12 and 18"
    ):
        choose(8, 1, 15, "data=2", microbatches=3)
    with pytest.raises(UserError, match="takes 16 devices and there are 8"):
        choose(8, 4, 64, "seed=4,data=4")
    assert nearest(3, 8) == "8"


def test_what_is_printed_says_who_computes_what():
    words = describe(Layout(4, 2), "jit", 8, 64)
    for part in ("8 devices", "seed=4,data=2", "2 of 8 seeds", "32 images", "of 64"):
        assert part in words
