"""Suite seeds: several seeds in one program, against one program per seed."""

import jax

from benchmarks.measure import interleave
from benchmarks.nets import NETS
from benchmarks.rows import Row, rows_of
from cnnjax.config import load_recipe
from cnnjax.devices import parallel
from cnnjax.run.programs import compile_programs
from cnnjax.run.setup import Run, initial_state, set_up

SEEDS = 5
STEPS = {"CIFAR ResNet-20, batch 128": 1, "digits ResNet-20, width 8, batch 64": 20}


def suite(options) -> list[Row]:
    """Seeds in one program (a loop, or vectorised) against separate programs."""
    rows = []
    for case, steps in STEPS.items():
        if options.only.lower() not in case.lower():
            continue
        ways = {
            "one program, loop": training(case, steps, SEEDS, "loop"),
            "one program, vectorised": training(case, steps, SEEDS, "vmap"),
            f"{SEEDS} runs": one_by_one(training(case, steps, 1, "loop")),
        }
        times = interleave(ways, rounds=options.rounds)
        rows += rows_of(
            case,
            times,
            f"{SEEDS} runs",
            unit=f"step of {SEEDS} seeds",
            units=steps,
            images=SEEDS * set_up_case(case, 1, "loop").train.batch_size,
        )
    return rows


def set_up_case(case: str, num_seeds: int, mode: str) -> Run:
    """The run of a case."""
    if case in NETS:
        config = NETS[case].config(1)
    else:
        config = load_recipe("resnet_digits")
        config.log.every_epochs = 100.0
    config.seeds.count = num_seeds
    config.train.seed_mode = mode
    return set_up(config)


def training(case: str, steps: int, num_seeds: int, mode: str):
    """A function that runs some steps of all seeds in one dispatch."""
    run = set_up_case(case, num_seeds, mode)
    state = initial_state(run)
    programs = compile_programs(run, state)
    holder = [parallel.to_device(state)]

    def advance():
        holder[0], rows = programs.advance(holder[0], 0, steps)
        jax.block_until_ready(holder[0])
        return rows

    return advance


def one_by_one(train_one):
    """Runs the program of one seed once for every seed."""
    return lambda: [train_one() for _ in range(SEEDS)]
