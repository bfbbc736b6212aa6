"""Look inside trained nets: filters, maps, what units detect, saliency, landscape.

Example: ./launch.sh look --workdir=runs/plain56,runs/residual56 --views=filters
         ./launch.sh look --workdir=runs/mine --weights=initial,last
         ./launch.sh look --model=resnet18 --weights=resnet18.safetensors --images=x.npz
"""

from absl import flags

from cnnjax import cli

WORKDIR = flags.DEFINE_list("workdir", [], "Folders of runs, or of arms.")
MODEL = flags.DEFINE_string("model", "", "In place of runs: a name of the registry.")
WEIGHTS = flags.DEFINE_list(
    "weights",
    [],
    "Of runs: last (the default), best, ema, initial. With --model: files of weights; "
    "none for initial ones.",
)
SOURCE = flags.DEFINE_string("source", "torchvision", "Whose names a file has.")
SEED = flags.DEFINE_list(
    "seed",
    [],
    "Seeds of the runs, side by side, such as 0,1; the first if missing.",
)
VIEWS = flags.DEFINE_list("views", [], "Which to draw; all if missing.")
LAYER = flags.DEFINE_string("layer", "", "Path of a layer, for filters and Grad-CAM.")
IMAGE = flags.DEFINE_integer("image", 0, "Whose feature maps.", lower_bound=0)
SPLIT = flags.DEFINE_string("split", "test", "Images: train, validation or test.")
DATA = flags.DEFINE_string("data", "", "With --model: images of this data set,")
IMAGES = flags.DEFINE_string("images", "", "or of an .npz file (images, labels).")
DATA_DIR = flags.DEFINE_string("data_dir", "", "Folder of prepared data sets.")
MEAN = flags.DEFINE_list("mean", [], "With --model: what is subtracted (white is 1).")
STD = flags.DEFINE_list("std", [], "With --model: what is divided by.")
MOST = flags.DEFINE_integer("most", 2000, "Images at the most.", lower_bound=16)
GRID = flags.DEFINE_integer("grid", 11, "Points of a landscape.", lower_bound=3)
OUT = flags.DEFINE_string(
    "out", "", "Folder of page and files; '' for `look` in the first run, or runs/look."
)


def main() -> int:
    # Imported late: --help and flag errors need no jax.
    from cnnjax.studies.look.start import Asked, show_inside

    asked = Asked(
        workdirs=WORKDIR.value,
        model=MODEL.value,
        weights=WEIGHTS.value,
        source=SOURCE.value,
        seeds=SEED.value,
        views=VIEWS.value,
        layer=LAYER.value,
        image=IMAGE.value,
        split=SPLIT.value,
        data=DATA.value,
        images=IMAGES.value,
        data_dir=DATA_DIR.value,
        mean=MEAN.value,
        std=STD.value,
        most=MOST.value,
        grid=GRID.value,
        out=OUT.value,
    )
    return show_inside(asked)


if __name__ == "__main__":
    cli.run(main)
