"""Small sets in the forms in which people have ImageNet, all of the same images."""

import io
import tarfile

import numpy as np
from PIL import Image
from scipy.io import savemat

from cnnjax.data.sources.archives.imagenet_labels import KIT

# WordNet id -> words; in the order of the development kit, not that of the ids.
WORDS = {
    "n02119789": "kit fox, Vulpes macrotis",
    "n01440764": "tench, Tinca tinca",
    "n02105855": "Shetland sheepdog",
}
KIT_ORDER = list(WORDS)
VALIDATION = ["n01440764", "n02119789", "n01440764", "n02105855"]  # of images 1, 2, ...


def jpeg(level, mode="RGB", kind="JPEG"):
    """A photograph 9 pixels wide and 7 high, whose colours say which one it is."""
    ramp = np.linspace(0, 60, 9 * 7 * 3).reshape(7, 9, 3)
    image = Image.fromarray((ramp + level).astype(np.uint8)).convert(mode)
    content = io.BytesIO()
    image.save(content, kind)
    return content.getvalue()


def training():
    """class -> name -> content, with one PNG called .JPEG and one in CMYK."""
    images = {
        wnid: {f"{wnid}_{i}.JPEG": jpeg(20 * i + 60 * c) for i in (10, 2)}
        for c, wnid in enumerate(WORDS)
    }
    images["n02105855"]["n02105855_2933.JPEG"] = jpeg(150, kind="PNG")
    images["n01440764"]["n01440764_7.JPEG"] = jpeg(90, mode="CMYK")
    return images


def validation():
    return {
        f"ILSVRC2012_val_{i:08d}.JPEG": jpeg(15 * i)
        for i in range(1, len(VALIDATION) + 1)
    }


def tar(files, kind=None):
    """The content of an archive, of pairs (name, content)."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=kind) as archive:
        for name, data in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return content.getvalue()


def kit(validation=VALIDATION):
    """`ILSVRC2012_devkit_t12.tar.gz`; beside the classes it has groups of them."""
    names = ["ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children"]
    rows = [(i, w, WORDS[w], "a gloss", 0.0, []) for i, w in enumerate(KIT_ORDER, 1)]
    rows.append((4, "n00001740", "entity", "a gloss", 2.0, [1.0, 2.0]))
    synsets = np.array(rows, [(name, object) for name in names]).reshape(-1, 1)
    meta = io.BytesIO()
    savemat(meta, {"synsets": synsets}, do_compression=True)
    truth = "".join(f"{KIT_ORDER.index(wnid) + 1}\n" for wnid in validation)
    packed = io.BytesIO()
    files = [
        (f"{KIT}/readme.txt", b"text"),
        (f"{KIT}/data/meta.mat", meta.getvalue()),
        (f"{KIT}/data/ILSVRC2012_validation_ground_truth.txt", truth.encode()),
    ]
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, data in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def put(root, files):
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def official(root):
    inner = [(f"{w}.tar", tar(files.items())) for w, files in training().items()]
    return put(
        root,
        {
            "ILSVRC2012_img_train.tar": tar(inner),
            "ILSVRC2012_img_val.tar": tar(validation().items()),
            f"{KIT}.tar.gz": kit(),
        },
    )


def kaggle(root):
    images = {
        f"ILSVRC/Data/CLS-LOC/train/{wnid}/{name}": content
        for wnid, files in training().items()
        for name, content in files.items()
    }
    flat = {f"ILSVRC/Data/CLS-LOC/val/{n}": c for n, c in validation().items()}
    flat["ILSVRC/Data/CLS-LOC/test/ILSVRC2012_test_00000001.JPEG"] = jpeg(3)
    synsets = "".join(f"{wnid} {words}\n" for wnid, words in sorted(WORDS.items()))
    put(root, images | flat | {"LOC_synset_mapping.txt": synsets.encode()})
    return solution(root)


def solution(root, validation=VALIDATION):
    """Kaggle's table of the labels of validation images."""
    rows = [
        f"ILSVRC2012_val_{i:08d},{wnid} 1 2 3 4 {wnid} 5 6 7 8 "
        for i, wnid in enumerate(validation, 1)
    ]
    # The order of rows says nothing.
    content = "\n".join(["ImageId,PredictionString", *reversed(rows), ""])
    return put(root, {"LOC_val_solution.csv": content.encode()})


def folders(root):
    images = {
        f"train/{wnid}/{name}": content
        for wnid, files in training().items()
        for name, content in files.items()
    }
    flat = zip(VALIDATION, validation().items(), strict=True)
    held = {f"val/{wnid}/{name}": content for wnid, (name, content) in flat}
    return put(root, images | held)


def shards(root):
    """Two of training images and one of validation images, in their order."""
    order = sorted(WORDS)
    examples = [
        (f"{wnid}/{name.split('.')[0]}", order.index(wnid), files[name])
        for wnid, files in sorted(training().items())
        for name in sorted(files)
    ]
    # By class and name, as the other forms.
    held = sorted(zip(VALIDATION, validation().items(), strict=True))
    of_val = [
        (f"x/{name.split('.')[0]}", order.index(wnid), content)
        for wnid, (name, content) in held
    ]
    names = "".join(f"{wnid} {WORDS[wnid]}\n" for wnid in order)

    def packed(examples):
        return tar(
            [
                (f"{key}.{suffix}", content)
                for key, label, image in examples
                for suffix, content in (("jpg", image), ("cls", b"%d" % label))
            ]
        )

    return put(
        root,
        {
            "imagenet-train-000000.tar": packed(examples[:3]),
            "imagenet-train-000001.tar": packed(examples[3:]),
            "imagenet-val-000000.tar": packed(of_val),
            "classes.txt": names.encode(),
        },
    )
