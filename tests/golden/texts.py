"""What the goldens freeze, as text: recipes, networks and ablations.

Every text is made from what the project resolves, never from the files that state it,
so that rewriting a definition without changing it leaves the golden alone.
"""

import hashlib
import json
import re

import numpy as np
from flax import traverse_util
from flax.core import meta

from cnnjax.ablation.define.stored import spec_to_dict
from cnnjax.ablation.plan import load_ablation, make_plan
from cnnjax.config import PATHS, differences, load_recipe, splat, to_dict
from cnnjax.data.published_sizes import describe_dataset
from cnnjax.data.request import Request
from cnnjax.layers.init import Declared
from cnnjax.models.registry import create_model, variant
from cnnjax.net.execution import unscanned
from cnnjax.net.initialize import abstract_variables
from cnnjax.training.optimizer import make_optimizer

# Numbers of equal blocks: '/stage1_block2/' is one of those that a line stands for.
BLOCK = re.compile(r"(?<=_block)\d+(?=/)|(?<=_layer)\d+(?=/)")
SEED = 0


def recipe_text(name):
    """The resolved config of a recipe, and what weight decay leaves out."""
    config = load_recipe(name)
    dataset, _ = describe_dataset(splat("data", Request, config.data))
    model = splat("model", create_model, config.model, num_classes=dataset.num_classes)
    params = abstract_variables(unscanned(model), dataset.image_shape)["params"]
    optimizer, _ = splat("optimizer", make_optimizer, config.optimizer, stacks={})
    decayed = traverse_util.flatten_dict(optimizer.decayed(meta.unbox(params)), sep="/")
    return _json(
        {
            "config": to_dict(config),
            "parameters": len(decayed),
            "without weight decay": sorted(p for p, yes in decayed.items() if not yes),
        }
    )


def network_text(name):
    """Path, shape, distribution and digest of initial values of every variable.

    Blocks that differ in nothing but their number share a line and a digest.
    """
    entry = variant(name)
    declared = abstract_variables(unscanned(create_model(name)), entry.input_shape)
    leaves = traverse_util.flatten_dict(
        declared, sep="/", is_leaf=lambda _, leaf: isinstance(leaf, Declared)
    )
    groups = {}
    for path, leaf in leaves.items():
        shape = "x".join(map(str, leaf.value.shape)) or "scalar"
        key = BLOCK.sub("*", path), shape, _distribution(leaf.initializer)
        groups.setdefault(key, []).append(path)
    head = f"{name}: {entry.num_params:,} parameters, input {entry.input_shape}"
    lines = [
        f"{_range(paths)}  {shape}  {distribution}  {_digest(paths, leaves)}"
        for (_, shape, distribution), paths in groups.items()
    ]
    return "\n".join([head, *lines]) + "\n"


def ablation_text(name):
    """The definition, and the arms of every scale by what sets them apart."""
    ablation = load_ablation(name)
    scales = {}
    for scale in ablation.scales:
        plan = make_plan(
            ablation, scale, num_seeds=None, data_dir="", workdir="runs", changes={}
        )
        recipe = to_dict(load_recipe(ablation.scale(scale).recipe))
        scales[scale] = {
            "claims": [claim.name for claim in ablation.posed(scale)],
            "arms": {
                cell.name: differences(recipe, to_dict(cell.config), ignore=PATHS)
                for cell in plan.cells
            },
        }
    spec = spec_to_dict(ablation, scale)["ablation"]
    return _json({"definition": spec, "resolved": scales})


def _range(paths):
    """'stage1_block[1-9]/conv1/kernel' for the paths of nine blocks."""
    if len(paths) == 1:
        return paths[0]
    numbers = sorted(int(BLOCK.search(path).group()) for path in paths)
    first, last = numbers[0], numbers[-1]
    gapless = numbers == list(range(first, last + 1))
    text = f"{first}-{last}" if gapless else ",".join(map(str, numbers))
    return BLOCK.sub(f"[{text}]", paths[0])


def _distribution(initializer):
    fan = "" if initializer.fan == "none" else f", fan {initializer.fan}"
    return f"{initializer.kind}({initializer.scale}{fan})"


def _digest(paths, leaves):
    total = hashlib.sha256()
    for path in paths:
        total.update(np.asarray(leaves[path].draw(SEED, path), "<f4").tobytes())
    return total.hexdigest()[:12]


def _json(value):
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
