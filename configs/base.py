"""Every key of one run: default, unit, legal values. The only place with defaults.

A recipe calls `get_config()` and changes what its source prescribes; `model` takes the
arguments of the chosen net, which `model_section(name)` reads from the net itself.
"""

import ml_collections
from ml_collections import config_dict

from cnnjax.models.registry import variant


def section(**keys) -> ml_collections.ConfigDict:
    return ml_collections.ConfigDict(keys)


def model_section(name: str, **changes) -> ml_collections.ConfigDict:
    """Section `model` for a net of `./launch.sh models`: its name and arguments.

    The norm is a choice of section `norm`: `norm_section(name)` is the published one.
    """
    entry = variant(name)
    keys = entry.defaults() | changes
    # None leaves a truth value to the net; alone it could not be set with a flag.
    left = {k: config_dict.placeholder(bool) for k, v in keys.items() if v is None}
    own = {"act": entry.act} if entry.takes("act") else {}
    return section(name=name, **own, **(keys | left))


def norm_section(name: str, **changes) -> ml_collections.ConfigDict:
    """Section `norm` with the settings that a net was published with."""
    norm = get_config().norm.unlock()  # a copy would forget the types of what is None
    norm.update(variant(name).norm | changes)
    return norm


def get_config() -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    config.seeds = section(
        first=0,  # integer >= 0; seeds are first, first + 1, ...
        count=1,  # >= 1; trained at once as one program
    )
    config.data = section(
        name="cifar10",  # see SOURCES in cnnjax/data/dataset.py, or tfds:<name>
        data_dir="",  # folder of prepared sets or of images; "" for digits, synthetic
        num_train=0,  # images; 0 = all that validation leaves
        # Images carved out of the training set; 0 = the source's own split, or none
        # where it has no such split; -1 = none at all.
        num_validation=5000,
        # Images; 0 = the source's own test split, or 20% of a source that is not
        # divided into splits; -1 = none at all.
        num_test=0,
        split_seed=0,  # integer >= 0; which images go to which split
        image_size=0,  # pixels; crop and resize to this side; 0 = as stored
        num_classes=0,  # of the synthetic source; 0 = what the source has
        channels=0,  # 1 (grey) | 3 (colour) | 0 = as in the first training image
        # Names of the classes that are kept, with new labels in this order; () = all.
        classes=(),
        # Folds of cross-validation; 0 = none. With folds, one is the test split.
        num_folds=0,
        # 0 to num_folds - 1: the one that tests; -1: none, all of the pool trains, and
        # the source's own test split, if there is one, tests. See `--folds`.
        fold=0,
        # auto | resident (in the device's memory) | streaming (read as needed)
        delivery="auto",
        # Positions in the training pool, from 0, of images that are not trained on; see
        # `outliers`. Other splits keep theirs.
        exclude=(),
        # [0, 1); share of the labels of the training pool that become another class
        label_noise=0.0,
        # Training images of a set that does not fit memory, drawn by split_seed, whose
        # statistics standardise all where augment.standardize measures; 0 = all
        measured_images=10_000,
    )
    config.geometry = section(
        # Which part of a photograph training sees: center | resize_crop | scale_crop |
        # random_resized_crop; all but center read files and need data.image_size.
        train="center",
        # center | resize_crop | ten_crop | multi_scale; the last two count at the end,
        # and while it trains a net is evaluated as by resize_crop
        evaluation="center",
        # Pixels: smallest and largest of scale_crop; resize_crop takes the first.
        shorter_side=(256, 480),
        area=(0.08, 1.0),  # of random_resized_crop: share of the photograph, in (0, 1]
        aspect=(3 / 4, 4 / 3),  # of random_resized_crop: width / height
        # Of resize_crop and ten_crop in evaluation: share of the shorter side in a crop
        fraction=0.875,
        scales=(256, 384, 512),  # pixels; shorter sides of multi_scale
        interpolation="bilinear",  # bilinear | bicubic; center is bilinear
    )
    config.augment = section(
        crop_pad=0,  # pixels >= 0; pad by this and crop at random; 0 = off
        flip=False,  # mirror half of the images
        # none | channel | pixel_mean | image | imagenet | inception, or numbers: mean
        # and deviation of each channel, where white is 1: "0.5,0.4,0.3/0.2,0.2,0.2"
        standardize="channel",
        cutout=0,  # side of the square in pixels; 0 = off
        mixup_alpha=0.0,  # parameter of the beta distribution; 0 = off
        cutmix_alpha=0.0,  # likewise; with both, each batch takes one of the two ways
        flip_vertical=False,  # mirror half of the images top and bottom
        # Smallest share of the area, (0, 1], that is cut and resized; 0 = off
        resized_crop=0.0,
        resized_crop_aspect=4 / 3,  # >= 1; largest width / height, inverse of the least
        # One warp for these; uniform to both sides, 0 = off
        rotation=0.0,  # degrees
        translation=0.0,  # share of the side, [0, 1], in whole pixels
        scale=0.0,  # [0, 0.9]; factors from 1 - scale to 1 + scale
        shear=0.0,  # degrees, along the rows
        # [0, 1]; factors from 1 - amount to 1 + amount; 0 = off
        brightness=0.0,
        contrast=0.0,
        saturation=0.0,
        hue=0.0,  # [0, 0.5]; largest turn, 0.5 is half the circle of colours; 0 = off
        grey=0.0,  # probability of a grey image; 0 = off
        # >= 0; factors of the principal axes of colours, Krizhevsky et al. 2012: 0.1
        pca_colour=0.0,
        noise=0.0,  # [0, 1]; standard deviation, where white is 1; 0 = off
        erase=0.0,  # probability of a box of zeros; 0 = off
        randaugment=0,  # operations an image; 0 = off
        randaugment_magnitude=9,  # 0 to 30
    )
    # The arguments of the net; legal values in its docstring.
    config.model = model_section("resnet20_cifar")
    config.norm = section(
        # batch | layer (H, W, C) | layer_channel | instance | group | local_response
        kind="batch",  # ... | none
        momentum=0.9,  # [0, 1]; running = momentum * running + (1 - momentum) * new
        epsilon=1e-5,  # > 0, added to the variance
        # Images per statistic of batch norm; None = the whole batch, k = ghost batches.
        examples_per_statistic=config_dict.placeholder(int),
        running_variance="unbiased",  # unbiased (n - 1, as torch) | biased (n, as Flax)
        # Group norm: one of the two. With neither, each layer takes the largest divisor
        # of its channels up to 32; `profile` says where it is another than 32.
        num_groups=config_dict.placeholder(int),  # None | >= 1
        channels_per_group=config_dict.placeholder(int),  # None | >= 1
        response_size=5,  # channels >= 1; local response norm, Krizhevsky et al. 2012
        response_alpha=1e-4,  # factor of the sum of squares
        response_beta=0.75,  # exponent
        response_k=2.0,  # constant
    )
    config.init = section(
        # he_normal | he_normal_fan_out | lecun_normal | glorot_normal | glorot_uniform
        kernel="",  # ... | orthogonal | normal (of std `scale`); "" = as the net says
        scale=1.0,  # > 0; factor of all kernels of convolutions and dense layers
    )
    # Transfer: where the weights come from, and which of them train.
    config.start = section(
        # Folder of a run or of an arm, or a file of published weights; "" = from
        # scratch. Before training it becomes a name, with its folder and its digest.
        weights="",
        folder="",  # where `weights` lies; "" = here, or in data.data_dir
        digest="",  # SHA-256 of a file, config hash of a run; "" = of what lies there
        source="",  # of a file: torchvision | timm | cifar | cifar_append; "" = by name
        which="last",  # weights of a run: last | best | ema | initial
        seed=-1,  # of a run; -1 = every seed starts from the same seed there
        # Regular expressions; parameters whose path matches are drawn anew. So is the
        # head where its classes differ.
        drawn=(),
        preprocess="source",  # standardisation: source (that of the weights) | own
        trains="all",  # all | head | last_stages=N (and the head)
        # "regular expression=factor" of the learning rate; the first that matches the
        # path of a parameter decides, whatever `trains` says; 0 = stays as it is.
        rates=(),
        # >= 0; first the head trains, and one stage more from the end every so many
        # epochs; 0 = all that trains does from the start.
        unfreeze_epochs=0.0,
        # Running statistics of batch norm, by which a layer normalizes in training too
        # where they stay: trained (they move where parameters train) | move | stay
        statistics="trained",
        norm_parameters=True,  # whether scales and biases of norms train with the rest
    )
    config.loss = section(
        # cross_entropy | sigmoid (one class against all others) | hinge (summed over
        # the wrong classes) | mean_hinge (as torch's) | squared_hinge
        kind="cross_entropy",
        label_smoothing=0.0,  # [0, 1)
        # >= 0; factor of the loss of each auxiliary head, Szegedy et al. 2014: 0.3
        auxiliary_weight=0.3,
        # >= 0; adds l2 / 2 times the sum of the squares of the parameters that are not
        # in optimizer.decay_exclude. Coupled weight decay, but clipped with the rest.
        l2=0.0,
    )
    config.optimizer = section(
        name="sgd",  # sgd | adamw | rmsprop
        momentum=0.9,  # [0, 1); of sgd and rmsprop
        nesterov=False,  # of sgd
        b1=0.9,  # [0, 1); of adamw
        b2=0.999,  # [0, 1); of adamw; decay of the mean square of rmsprop
        epsilon=1e-8,  # > 0; of adamw and rmsprop
        weight_decay=1e-4,  # >= 0
        decay="coupled",  # coupled (added to the gradient) | decoupled (as AdamW)
        decay_exclude=(),  # regular expressions; parameters whose path matches stay out
        clip_norm=0.0,  # largest global norm of the gradient; 0 = off
    )
    config.schedule = section(
        kind="step",  # constant | step | cosine | linear
        learning_rate=0.1,  # > 0; the peak
        unit="steps",  # of boundaries and warmup: steps | epochs | fraction (of all)
        boundaries=(32000.0, 48000.0),  # kind step: where the rate is multiplied by ...
        factor=0.1,  # ... this
        final_learning_rate=0.0,  # >= 0; kinds cosine and linear end here
        cycles=1,  # >= 1; equal parts of the run in which these two fall from the peak
        warmup=0.0,  # >= 0; length of the warm-up; 0 = none
        warmup_kind="linear",  # linear (rises to the peak) | constant (stays low)
        warmup_learning_rate=0.0,  # >= 0; where it starts, or stays
    )
    config.train = section(
        batch_size=128,  # images a step, over all devices
        # The budget, in one of two ways; setting one on the command line clears the
        # other.
        steps=64000,  # optimizer steps; 0 = use `epochs`
        epochs=0.0,  # passes over the training set; 0 = use `steps`
        # [0, 1); moving average of parameters and statistics; 0 = off
        ema_decay=0.0,
        # Parts of each batch that are computed one after another, to take less memory;
        # divides the batch size. Batch norm then needs examples_per_statistic.
        microbatches=1,
        dtype="float32",  # float32 | bfloat16; of the forward and backward pass
        steps_per_dispatch=0,  # largest number of steps per call; 0 = chosen
        seed_mode="auto",  # auto | loop | vmap; how seeds share the program
        impl="auto",  # auto | xla (without oneDNN) | lax (the plain operations)
        # Bit for bit the same on the same GPU, a little slower; the CPU always is.
        deterministic=False,
    )
    config.parallel = section(
        mode="jit",  # jit | shard_map | pmap; the numbers are the same
        # auto | such as "seed=4,data=2": devices for the seeds and for each batch.
        layout="auto",
        devices=0,  # how many may be used; 0 = all accelerators, or one emulated on CPU
        shard_state=False,  # mode jit: divide parameters and optimizer state over data
    )
    config.eval = section(
        batch_size=500,  # images
        every_epochs=1.0,  # of the validation set while training; 0 = only at the end
        # At the end, of batch norm: running (of averaged weights the averages of these)
        # | precise (re-estimated; for averaged weights before every evaluation) | batch
        # (those of the batch that is evaluated)
        statistics="running",
        precise_batches=50,  # training batches for precise statistics
        weights="raw",  # raw | ema
        # At the end, what nets see of each image; probabilities are averaged over
        # views, or logits where the loss is not cross_entropy.
        flip=False,  # also the mirror image
        crops="whole",  # whole | centre | five (corners and centre)
        crop_size=0,  # pixels, the side of crops; 0 = that of the training images
        # Factors of the size of images, to which they are resized one after another; a
        # net that takes any size sees them whole. () = as they are.
        scales=(),
        keep_best=True,  # also keep, and test, the weights that are best on validation
        # Measurements beside errors: layer_responses, gradient_norms, lesion, shift,
        # curvature, likeness, statistics, ensemble
        probes=(),
        members=1,  # >= 1; consecutive seeds that probe `ensemble` averages
        # >= 1; of each, what it was at the ends of so many equal parts of training
        snapshots=1,
    )
    config.checkpoint = section(
        every_epochs=5.0,  # >= 0; 0 = only at the end
        keep_last=2,  # >= 1; older ones are deleted
    )
    config.log = section(
        every_epochs=1.0,  # > 0; one row of training metrics
        tensorboard=True,  # also write TensorBoard event files
    )
    return config.lock()
