"""Each of several processes reads its share of a streamed set, and no more."""

import json
from collections import Counter

import numpy as np
import pytest

from cnnjax.config import override
from cnnjax.records import read_json
from cnnjax.run.setup import set_up
from tests.devices.processes.conftest import SMALL
from tests.devices.processes.small import get_config
from tests.run.tiny import fit
from tests.slow import slow

# One epoch of 128 images, each of two seeds in an order of its own.
CHANGES = {"train.steps": 8}


@pytest.fixture
def shared_cache(tmp_path):
    """For one test: statistics are kept there as well, and would not be read again."""
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Results of the same set in the memory of one process."""
    config = get_config()
    override(config, CHANGES | {"data.delivery": "resident"})
    return fit(set_up(config), tmp_path_factory.mktemp("alone")).results


def reads(folder):
    """For each process, most first: split -> how often it has read each image."""
    found = []
    for path in folder.glob("reads-*.jsonl"):
        counts = {split: Counter() for split in ("train", "validation", "test")}
        for line in path.read_text().splitlines():
            split, indices = json.loads(line)
            counts[split].update(indices)
        found.append(counts)
    return sorted(found, key=lambda counts: -counts["train"].total())


# Statistics take one pass over the training images, a stretch of 256 for each process:
# all are in the first one's. Every image is then trained on once by each seed, and read
# once more to evaluate the last weights; validation and test images twice. A process
# that has all seeds has half of each batch, one with its own seed has whole batches.
@pytest.mark.parametrize(
    ("layout", "passes", "of_processes"),
    [
        slow("data=2", {"train": 4, "validation": 2, "test": 2}, [128 + 192, 192]),
        slow("seed=2", {"train": 5, "validation": 4, "test": 4}, [128 + 256, 256]),
    ],
)
def test_two_processes_share_the_images(
    start, ended, tmp_path, alone, layout, passes, of_processes
):
    flags = [f"--config.{key}={value}" for key, value in CHANGES.items()]
    processes = start(
        2,
        SMALL,
        *flags,
        "--config.data.delivery=streaming",
        f"--parallel.layout={layout}",
        "--workdir=run",
        program="tests.devices.processes.reading",
    )
    for process in processes:
        end = ended(process)
        assert end.code == 0, end.err
    by_process = reads(tmp_path)
    assert [counts["train"].total() for counts in by_process] == of_processes
    for split, num_images in (("train", 128), ("validation", 9), ("test", 10)):
        together = sum((counts[split] for counts in by_process), Counter())
        assert len(together) == num_images
        assert set(together.values()) == {passes[split]}
    for seed, expected in enumerate(alone):
        result = read_json(tmp_path / f"run/seed-{seed}/result.json")
        for split, of_split in expected["final"].items():
            got = result["final"][split]
            assert got["count"] == of_split["count"]
            # Sums over halves of a batch, eight steps long.
            np.testing.assert_allclose(got["loss"], of_split["loss"], rtol=1e-4)
