"""ZFNet: AlexNet with smaller windows and strides at the start.

Source: Zeiler & Fergus 2013, arXiv 1311.2901, figure 3 (`zfnet_published`) and table 2,
the row with 512, 1024 and 512 maps in layers 3 to 5 (`zfnet`, the form that lectures
give).

Deviations: "contrast normalization across feature maps" is local response norm with
the constants of Krizhevsky et al. 2012. Figure 3 leaves padding open: its sizes (110,
55, 26, 13, 6) follow from 1 around the image and from pools that keep a last window
reaching over the end. Weights start as He's, not at a standard deviation of 0.01; the
filters of the first layer are not renormalized.
"""

from cnnjax.models.alexnet import AlexNet
from cnnjax.models.variant import Published, Variant

_WINDOWS = {
    "kernel_sizes": (7, 5, 3, 3, 3),
    "strides": (2, 2, 1, 1, 1),
    "paddings": (1, 0, 1, 1, 1),
    "pool_ceil_mode": True,
    "response_norm": "after_pool",
    "dropout_on": "outputs",
}

VARIANTS = {
    "zfnet": Variant(
        AlexNet,
        (224, 224, 3),
        107_627_624,
        2_476_704_896,
        "by hand from Zeiler & Fergus 2013, figure 3 and table 2",
        _WINDOWS | {"widths": (96, 256, 512, 1024, 512)},
        norm={"kind": "local_response"},
        published=Published(37.5, 16.0, "Zeiler & Fergus 2013, table 2 (b)"),
    ),
    "zfnet_published": Variant(
        AlexNet,
        (224, 224, 3),
        62_357_608,
        1_168_032_896,
        "by hand from Zeiler & Fergus 2013, figure 3",
        _WINDOWS | {"widths": (96, 256, 384, 384, 256)},
        norm={"kind": "local_response"},
        published=Published(38.4, 16.5, "Zeiler & Fergus 2013, table 2"),
    ),
}
