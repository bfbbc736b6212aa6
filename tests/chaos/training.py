"""The training that the machine fails, and how each of them must end."""

import time

from tests.run.test_interruption import finish, numbers

TRAIN = (
    "train",
    "--config=mlp_mnist",
    "--seeds=2",
    "--config.data.name=digits",
    "--config.data.num_validation=100",
    "--config.train.epochs=4",
    "--config.train.steps_per_dispatch=4",
    "--config.checkpoint.every_epochs=1",
    "--config.eval.statistics=precise",
    "--workdir=run",
)
# From its start to its end, on a machine with much else to do.
LONGEST_SECONDS = 60


def assert_ends_well(programs, here, command=TRAIN, codes=(0, 2)):
    """One sentence and its exit code, or the results and at most a warning."""
    start = time.monotonic()
    ended = programs.run(here, *command)
    assert time.monotonic() - start < LONGEST_SECONDS
    assert ended.code in codes, ended
    assert "Traceback" not in ended.out + ended.err
    if ended.code == 2:
        assert ended.err.startswith("error: "), ended
        assert ended.err.count("\n") == 1, ended
    elif ended.code == 0:
        assert ended.err == "", ended
    return ended


def assert_resumes(programs, here, whole, command=TRAIN):
    """On a machine that works again, the same command ends as if nothing had been."""
    finish(programs, here, *command)
    assert numbers(here / "run") == whole
