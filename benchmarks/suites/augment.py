"""Suite augment: each family of augmentations, for one batch in memory."""

from collections.abc import Callable

import jax
import numpy as np

from benchmarks.elsewhere import Elsewhere, interleave_processes
from benchmarks.rows import Row, rows_of
from cnnjax.config import override
from cnnjax.data.augment import make_augment
from cnnjax.data.augment.pca import colour_axes
from cnnjax.data.split import Split
from cnnjax.data.standardize import measure
from cnnjax.devices import parallel
from configs import base

OURS = "cnnjax, in the program"
TORCH = ("torchvision v2, each image", "torchvision v2, one draw for all")
CALLS = 3  # batches of a measurement
JITTER = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
WARP = {"rotation": 15.0, "translation": 0.1, "scale": 0.2, "shear": 10.0}
# Name -> side, images, and what is on.
CASES = {
    "crop and flip, 32 px": (32, 128, {"crop_pad": 4, "flip": True}),
    "resized crop, 32 px": (32, 128, {"resized_crop": 0.08}),
    "affine warp, 32 px": (32, 128, WARP),
    "colour jitter, 32 px": (32, 128, JITTER),
    "RandAugment of 2, 32 px": (32, 128, {"randaugment": 2}),
    "resized crop, flip, jitter, 224 px": (
        *(224, 16),
        {"resized_crop": 0.08, "flip": True, **JITTER},
    ),
}


def suite(options) -> list[Row]:
    """Images a second of one batch, standardised, on all cores."""
    rows = []
    ways = (OURS, *(TORCH if options.against == "torch" else ()))
    for case, (_, num, _) in CASES.items():
        if options.only.lower() not in case.lower():
            continue
        processes = []
        try:
            for way in ways:
                code = "from benchmarks.suites.augment import build\n"
                code += f"step, units = build({way!r}, {case!r}), {CALLS}"
                processes.append(Elsewhere(way, code, {}))
            times, _ = interleave_processes(processes, {}, rounds=options.rounds)
        finally:
            for process in processes:
                process.close()
        name = f"{case}, batch {num}"
        rows += rows_of(name, times, OURS, unit="batch", images=num)
    return rows


def build(way: str, case: str) -> Callable[[], object]:
    """What makes some batches of a case in one way."""
    side, num, on = CASES[case]
    stream = np.random.RandomState(0)
    images = stream.randint(0, 256, (num, side, side, 3), np.uint8)
    if way == OURS:
        make = ours(images, on)
    else:
        from benchmarks.peers import torch_augment

        make = torch_augment.batch_maker(images, on, each=way == TORCH[0])
    return lambda: [make() for _ in range(CALLS)]


def ours(images: np.ndarray, on: dict[str, float]) -> Callable[[], object]:
    """A program that makes a batch."""
    section = base.get_config()
    override(section, {f"augment.{name}": amount for name, amount in on.items()})
    labels = np.zeros(len(images), np.int32)
    augment = make_augment(
        measure(section.augment.standardize, images),
        image_shape=images.shape[1:],
        num_classes=10,
        colour_axes=colour_axes(Split(images, labels), ""),
        **section.augment,
    )

    def deliver(seed, images, labels):
        return augment.train(jax.random.key(seed), images, labels)

    data = parallel.to_device((images, labels))
    program = parallel.compile_program(deliver, (np.int32(0), *data))
    seeds = iter(range(10**6))
    return lambda: jax.block_until_ready(program(np.int32(next(seeds)), *data))
