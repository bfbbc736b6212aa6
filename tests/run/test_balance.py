"""Whether reading or the net is said to be the limit of a training."""

from types import SimpleNamespace

import pytest

from cnnjax.devices.speed import Speed
from cnnjax.run.images.balance import in_words, net_rate


def run(seeds=1):
    return SimpleNamespace(
        seeds=range(seeds),
        multiply_adds=10**9,
        train=SimpleNamespace(batch_size=100),
        load=lambda: SimpleNamespace(layers=50),
    )


def test_the_rate_of_a_net():
    """3 ms of multiply-adds and 1 ms of layers an image."""
    assert net_rate(run(), Speed(1e12, 2e-3, 1.0)) == pytest.approx(250)


@pytest.mark.parametrize(
    ("net", "limit", "here"), [(1600, "reading", "4.0"), (200, "the net", "0.5")]
)
def test_the_limit(net, limit, here):
    (line,) = in_words(800, 2, net, run())
    assert f": {limit} is the limit" in line
    assert f"needs {here} such cores here, and 2.5 for each 1,000 images/s" in line


def test_seeds_share_what_is_read():
    """The net takes images of all seeds, and each is read for one."""
    one, of_seeds = in_words(800, 2, 500, run(3))
    assert "the net is the limit" in one
    assert "read 3 times an epoch" in of_seeds
