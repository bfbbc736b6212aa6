"""Whether reading photographs keeps up with a net."""

from cnnjax.data.readable import reading_rate
from cnnjax.data.streaming import num_cores
from cnnjax.devices.speed import Speed, machine_speed
from cnnjax.run.provenance import processor
from cnnjax.run.setup import Run


def balance_lines(run: Run) -> list[str]:
    """What limits a training that reads files, in sentences; reads some of them.

    Args:
      run: of `set_up`.

    Raises:
      UserError: an image that cannot be read.
    """
    if not (run.dataset.train.streamed and run.dataset.train.from_files):
        return []
    read = reading_rate(run.dataset.train)
    return in_words(read, num_cores(), net_rate(run, machine_speed(processor())), run)


def net_rate(run: Run, speed: Speed) -> float:
    """Images per second that a net takes here, of all seeds of a program together."""
    per_image = 3 * run.multiply_adds / speed.rate
    return 1 / (
        per_image + run.load().layers * speed.layer_seconds / run.train.batch_size
    )


def in_words(read: float, cores: int, net: float, run: Run) -> list[str]:
    """The sentences.

    Args:
      read: images per second that reading gives, on all cores.
      cores: how many these are.
      net: images per second that the net takes, of all seeds together.
      run: of `set_up`.
    """
    limit = "reading" if read < net else "the net"
    lines = [
        f"reading gives {read:,.0f} images/s on {cores} cores (measured), the net "
        f"takes about {net:,.0f} here: {limit} is the limit; balance needs "
        f"{cores * net / read:,.1f} such cores here, and {1000 * cores / read:.1f} for "
        "each 1,000 images/s of an accelerator"
    ]
    if (seeds := len(run.seeds)) > 1:
        # Their orders differ, and so do their draws.
        lines.append(
            f"each of the {seeds} seeds reads for itself: an image is read {seeds} "
            "times an epoch, and these are images of all seeds together"
        )
    return lines
