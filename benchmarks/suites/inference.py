"""Suite inference: logits of a batch in evaluation, in cnnjax and in torch."""

import jax

from benchmarks.machine import matmul
from benchmarks.measure import interleave
from benchmarks.nets import Net, named
from benchmarks.rows import Row, rows_of
from cnnjax.analysis.folding import fold_batch_norm
from cnnjax.devices import parallel
from cnnjax.errors import UserError
from cnnjax.net.forward import forward_eval
from cnnjax.run.setup import initial_state, set_up


def suite(options) -> list[Row]:
    """Rows for every net whose name contains `options.only`."""
    nets = named(options.only).items()
    return [row for name, net in nets for row in compare(name, net, options)]


def compare(name: str, net: Net, options) -> list[Row]:
    """Measures one net in all ways."""
    run = set_up(net.config(1))
    state = jax.tree.map(lambda leaf: leaf[0], initial_state(run))
    weights = (state.params, state.model_state)
    shape = (net.batch_size, net.image_size, net.image_size, 3)
    images = jax.random.normal(jax.random.key(0), shape)
    ways = {
        "cnnjax": logits(run.model, weights, images, "auto"),
        "plain Linen": logits(run.model, weights, images, "lax"),
    }
    try:
        variables = {"params": state.params, **state.model_state}
        model, folded = fold_batch_norm(run.model, variables, shape[1:])
    except UserError:  # a norm precedes its convolution and cannot be folded
        pass
    else:
        params = folded.pop("params")
        ways["cnnjax, norms folded"] = logits(model, (params, folded), images, "auto")
    reference = "plain Linen"
    if options.against == "torch":
        from benchmarks.peers import torch_nets

        peer = torch_nets.build(net.model, run.num_params)
        batch, _ = torch_nets.images_like(
            net.batch_size, net.image_size, net.num_classes
        )
        reference = "torch"
        ways["torch"] = torch_nets.inference(peer, batch)
    return rows_of(
        name,
        interleave(ways | matmul(), rounds=options.rounds),
        reference,
        unit="batch",
        images=net.batch_size,
        flops=2 * run.multiply_adds * net.batch_size,
    )


def logits(model, weights, images, impl: str):
    """The evaluation of a batch as one compiled program."""
    arguments = parallel.to_device((*weights, images))
    program = parallel.compile_program(
        lambda params, state, x: forward_eval(model, params, state, x),
        arguments,
        impl=impl,
    )
    return lambda: jax.block_until_ready(program(*arguments))
