"""Looking into a net: what it computes, as arrays.

    from cnnjax import views

    net = cnnjax.load_run("runs/train/mine")
    x = net.preprocess(images)
    maps = views.integrated_gradients(net.network, net.variables, x, labels)
    found = views.filters(net.network, net.variables, x)

Each function takes (network, variables, images, ...) and is pure. `drawing/` makes
pictures of what they give; `./launch.sh look` draws all of them.
"""

from cnnjax.views.class_maps import grad_cam, grad_cam_plus_plus
from cnnjax.views.curvature import sharpness
from cnnjax.views.dreams import maximise
from cnnjax.views.landscape import around, directions, projected, surface
from cnnjax.views.likeness import cka, cka_matrix
from cnnjax.views.passes import DoesNotApply
from cnnjax.views.saliency import (
    by_gradients,
    gradient,
    gradient_times_input,
    integrated_gradients,
    occlusion,
    smooth_grad,
)
from cnnjax.views.sanity import rank_correlations
from cnnjax.views.signals import along_depth, effective_field, effective_side
from cnnjax.views.spaces import (
    linear_error,
    neighbours,
    principal_plane,
    tsne_plane,
)
from cnnjax.views.stages import feature_maps, penultimate_of, stages_of
from cnnjax.views.units import patch, peaks, strongest
from cnnjax.views.weights import filters, matched

__all__ = [
    "DoesNotApply",
    "along_depth",
    "around",
    "by_gradients",
    "cka",
    "cka_matrix",
    "directions",
    "effective_field",
    "effective_side",
    "feature_maps",
    "filters",
    "grad_cam",
    "grad_cam_plus_plus",
    "gradient",
    "gradient_times_input",
    "integrated_gradients",
    "linear_error",
    "matched",
    "maximise",
    "neighbours",
    "occlusion",
    "patch",
    "peaks",
    "penultimate_of",
    "principal_plane",
    "projected",
    "rank_correlations",
    "sharpness",
    "smooth_grad",
    "stages_of",
    "strongest",
    "surface",
    "tsne_plane",
]
