"""Suite compile: seconds to trace, lower and compile a training program, by depth."""

import functools

from benchmarks.measure import Times, interleave
from benchmarks.nets import NETS
from benchmarks.rows import Row, rows_of
from cnnjax.run.programs import compile_programs
from cnnjax.run.setup import initial_state, set_up

REFERENCE = "CIFAR ResNet-20, batch 128"
# Depths that compile in reasonable time; 1202 layers do so only when scanned.
DEPTHS = {True: (20, 56, 110, 1202), False: (20, 56, 110)}
MOST_ROUNDS = 3


def suite(options) -> list[Row]:
    """The same net by depth, with scanned blocks and with separate blocks."""
    rows = []
    for scanned, depths in DEPTHS.items():
        case = "equal blocks scanned" if scanned else "blocks written out"
        if options.only.lower() not in case:
            continue
        ways = {f"depth {depth}": compiling(depth, scanned) for depth in depths}
        rounds = min(options.rounds, MOST_ROUNDS)
        times = interleave(ways, rounds=rounds, warm_up=0)
        # The first compilation of a process also loads the compiler.
        times = {way: Times(t.seconds[1:]) for way, t in times.items()}
        rows += rows_of(case, times, f"depth {depths[0]}", unit="program")
    return rows


def compiling(depth: int, scanned: bool):
    """Compiles training and evaluation without any cache."""
    config = NETS[REFERENCE].config(1)
    config.model.depth = depth
    config.model.scan_blocks = scanned
    run = set_up(config)
    state = initial_state(run)
    return functools.partial(compile_programs, run, state)
