"""Maps of saliency against captum, on converted nets in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import interop
from cnnjax.models.registry import create_model
from cnnjax.views import class_maps, saliency
from cnnjax.views.passes import DoesNotApply, logits_of
from tests.models.entries import one_seed
from tests.peers import arrays, images_of, in_torch, peer
from tests.slow import slow_but

attr = pytest.importorskip("captum.attr", reason="compares with captum: extra `peers`")
torch = pytest.importorskip("torch")

TARGETS = np.array([3, 7])
CASES = {
    # Name: side of the image, path of a layer here and in torchvision's net.
    "resnet10": (33, "stage3_block1", "layer3.0"),
    "resnet18": (40, "stage3_block2", "layer3.1"),
    "vgg11_bn": (32, "stage5_norm1", "features.23"),
    "densenet121": (
        32,
        "stage3_block2/conv2",
        "features.denseblock3.denselayer2.conv2",
    ),
    "googlenet": (64, "stage2_block1", "inception4a"),
    "mobilenet_v2": (48, "stage4_block1", "features.8"),
}


class Pair:
    """A net of torchvision and ours with its weights, both in float64."""

    def __init__(self, name, side, layer):
        overrides = {}
        if name == "resnet10":  # quick to compile
            name, overrides = "resnet18", {"num_blocks": (1, 1, 1, 1)}
        net = peer("torchvision", name)
        for stage in overrides and (net.layer1, net.layer2, net.layer3, net.layer4):
            del stage[1]
        state = arrays(net)
        self.net = self._without_in_place(net.eval())
        self.module = net.get_submodule(layer)
        self.images = images_of(side)
        with jax.enable_x64(True):
            self.variables = interop.from_torch(name, state, **overrides)
            self.ours = create_model(name, dtype="float64", **overrides)

    @staticmethod
    def _without_in_place(net):
        for module in net.modules():
            if hasattr(module, "inplace"):
                module.inplace = False
        return net

    def compute(self, function, *arguments, **options):
        def run(variables, images):
            given = (self.ours, variables, images, TARGETS, *arguments)
            return function(*given, **options)

        with jax.enable_x64(True):
            found = jax.jit(run)(self.variables, jnp.asarray(self.images))
            return jax.tree.map(np.asarray, found)

    def captum(self, method, *of_method, **options):
        given = in_torch(self.images).requires_grad_()
        found = method(self.net, *of_method).attribute(
            given, target=torch.tensor(TARGETS), **options
        )
        return found.detach().numpy()


def in_ours(maps):
    return maps.transpose(0, 2, 3, 1)


def same(ours, theirs, tolerance=1e-8):
    scale = np.abs(theirs).max()
    assert scale > 0
    np.testing.assert_allclose(ours / scale, theirs / scale, rtol=0, atol=tolerance)


@pytest.fixture(scope="module", params=slow_but(["resnet10"], CASES))
def pair(request):
    side, ours, theirs = CASES[request.param]
    pair = Pair(request.param, side, theirs)
    pair.layer = ours
    return pair


def test_gradient(pair):
    theirs = pair.captum(attr.Saliency, abs=False)
    same(pair.compute(saliency.gradient), in_ours(theirs))


@pytest.mark.slow
def test_gradient_times_input(pair):
    theirs = pair.captum(attr.InputXGradient)
    same(pair.compute(saliency.gradient_times_input), in_ours(theirs))


@pytest.mark.slow
def test_integrated_gradients(pair):
    theirs = pair.captum(
        attr.IntegratedGradients, baselines=0.2, n_steps=6, internal_batch_size=None
    )
    ours = pair.compute(saliency.integrated_gradients, baseline=0.2, steps=6)
    same(ours, in_ours(theirs))


@pytest.mark.slow
def test_smooth_grad(pair):
    """With the noise that ours draws, copy by copy."""
    ours = pair.compute(saliency.smooth_grad, seed=4, samples=3)
    with jax.enable_x64(True):
        added = np.asarray(saliency.noise(jnp.asarray(pair.images), 4, 3, 0.15))
    spread = np.ptp(pair.images.reshape(2, -1), axis=1)
    np.testing.assert_allclose(added.std(axis=(0, 2, 3, 4)) / spread, 0.15, rtol=0.03)
    assert added.shape == (3, *pair.images.shape)
    clean, total = pair.images, 0
    for copy in added:
        pair.images = clean + copy
        total += pair.captum(attr.Saliency, abs=False)
    pair.images = clean
    same(ours, in_ours(total / 3))


@pytest.mark.slow
def test_occlusion(pair):
    """Squares that do not fit into the image a whole number of times.

    captum keeps what it fills them with in float32, which holds 0.25 exactly, and
    rounds its result to float32.
    """
    channels, window, stride = 3, 15, 11
    theirs = pair.captum(
        attr.Occlusion,
        sliding_window_shapes=(channels, window, window),
        strides=(channels, stride, stride),
        baselines=0.25,
    )
    ours = pair.compute(saliency.occlusion, window=window, stride=stride, fill=0.25)
    ours = np.repeat(ours, 3, axis=-1).astype(np.float32)
    same(ours, in_ours(theirs), tolerance=2 * np.finfo(np.float32).eps)


def test_grad_cam(pair):
    theirs = pair.captum(attr.LayerGradCam, pair.module, relu_attributions=True)
    same(pair.compute(class_maps.grad_cam, pair.layer), theirs[:, 0])


@pytest.mark.slow
def test_grad_cam_plus_plus(pair):
    """Equation 19 with the derivatives of exp(logit) that torch computes."""
    kept = []
    hook = pair.module.register_forward_hook(lambda *call: kept.append(call[-1]))
    logits = pair.net(in_torch(pair.images))
    hook.remove()
    output = kept[-1]
    scores = logits[range(2), TARGETS]
    slope = torch.autograd.grad(scores.sum(), output)[0]
    expected = []
    for map_, first, score in zip(output, slope, scores, strict=True):
        factor = torch.exp(score)  # of all derivatives; it scales the whole map
        first, second, third = (factor * first**power for power in (1, 2, 3))
        below = 2 * second + map_.sum((1, 2), keepdim=True) * third
        alpha = torch.nan_to_num(second / below, 0.0, 0.0, 0.0)
        weights = (alpha * first.clamp(min=0)).sum((1, 2), keepdim=True)
        whole = (weights * map_).sum(0).clamp(min=0) / factor
        expected.append(whole.detach().numpy())
    same(pair.compute(class_maps.grad_cam_plus_plus, pair.layer), np.stack(expected))


@pytest.mark.slow
def test_all_gradients_at_once_are_those_one_by_one(pair):
    found = pair.compute(saliency.by_gradients, seed=3, steps=4, samples=3)
    alone = {
        "gradient": pair.compute(saliency.gradient),
        "gradient x input": pair.compute(saliency.gradient_times_input),
        "integrated gradients": pair.compute(saliency.integrated_gradients, steps=4),
        "SmoothGrad": pair.compute(saliency.smooth_grad, seed=3, samples=3),
    }
    assert set(found) == set(alone)
    for name, expected in alone.items():
        same(found[name], expected)


def test_integrated_gradients_add_up_to_the_logit():
    with jax.enable_x64(True):
        net = create_model("mlp", widths=(5,), act="gelu", dtype="float64")
        variables = one_seed(net, (6, 6, 1))
        images = np.random.RandomState(0).standard_normal((2, 6, 6, 1))

        @jax.jit
        def run(variables, images):
            given = net, variables, images, TARGETS
            parts = saliency.integrated_gradients(*given, steps=200).sum((1, 2, 3))
            return parts, [logits_of(net, variables, x) for x in (images, 0 * images)]

        parts, (there, here) = run(variables, jnp.asarray(images))
        moved = np.asarray(there - here)[[0, 1], TARGETS]
    np.testing.assert_allclose(parts, moved, rtol=1e-5)


def test_a_layer_without_positions():
    net = create_model("lenet5_published")
    variables = one_seed(net, (32, 32, 1))
    with pytest.raises(DoesNotApply, match="'head' gives vectors"):
        class_maps.grad_cam(net, variables, np.zeros((2, 32, 32, 1)), TARGETS, "head")
