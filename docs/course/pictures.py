"""The pictures of docs/course: hand-made filters on a photo, and filters that networks learned.

    python docs/course/pictures.py [--cnn runs/cnn] [--unet runs/unet] [--out docs/course]

The photograph is NASA's of Eileen Collins, in the public domain, as scikit-image has it.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import equations
import numpy as np
import torch
from matplotlib import pyplot
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

import celebattr
from celebattr.models import bundle
from celebattr.models.weights import bundle_file

BLUR = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]) / 16.0
"""The lecture's Gaussian blur: a weighted mean of a pixel and its neighbours."""

EDGES = torch.tensor([[-1.0, -1.0, -1.0], [-1.0, 8.0, -1.0], [-1.0, -1.0, -1.0]])
"""The lecture's edge filter: 0 wherever all nine pixels are alike."""

BLURS = 8
"""One 3x3 blur can hardly be seen: so many, one after the other, can."""


def filtered(grey_HW: Tensor, filter_RS: Tensor, times: int = 1) -> Tensor:
    """A grey picture through one filter, by the course's own convolution."""
    o_BCHW = grey_HW[None, None]
    for _ in range(times):
        o_BCHW = equations.convolution(o_BCHW, filter_RS[None, None])
    return o_BCHW[0, 0]


def hand_made(out: Path) -> None:
    """`filters.png`: a photo, blurred, and its edges."""
    from skimage import data

    photo: NDArray[np.uint8] = data.astronaut()[0:240, 100:340]
    grey_HW = torch.from_numpy(photo.mean(axis=2, dtype=np.float32))
    edges_HW = filtered(grey_HW, EDGES)
    figure, axes = pyplot.subplots(1, 3, figsize=(9, 3.3), layout="constrained")
    shown = {
        "photo": grey_HW,
        f"Gaussian blur, {BLURS} times": filtered(grey_HW, BLUR, BLURS),
        "edges": 255.0 - edges_HW.abs(),
    }
    for axis, (title, picture_HW) in zip(axes, shown.items(), strict=True):
        axis.imshow(picture_HW, cmap="gray", vmin=0, vmax=255)
        axis.set_title(title)
        axis.axis("off")
    figure.savefig(out / "filters.png", dpi=80)
    pyplot.close(figure)


def learned(weights: str | None, out: Path) -> None:
    """The 64 filters of a network's first convolution, 7x7 in colour, each between its extremes."""
    card, network = bundle.load(bundle_file(weights, gpu=True))
    first = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    filters_FCRS = first.weight.detach().float()
    low, high = (
        getattr(filters_FCRS, end)(dim=(1, 2, 3), keepdim=True) for end in ("amin", "amax")
    )
    tiles_FRSC = ((filters_FCRS - low) / (high - low)).permute(0, 2, 3, 1).numpy()
    figure, axes = pyplot.subplots(4, 16, figsize=(9, 2.4), layout="constrained")
    for axis, tile_RSC in zip(axes.flat, tiles_FRSC, strict=True):
        axis.imshow(tile_RSC)
        axis.axis("off")
    figure.savefig(out / f"{card.arch}-filters.png", dpi=100)
    pyplot.close(figure)


def drawn(out: Path) -> None:
    """`drawn.png`: faces of `--data drawn`."""
    from celebattr.data.synthetic import NAME, source

    faces = source()
    sheet = Image.new("RGB", (8 * 178, 218), "white")
    for i in range(8):
        sheet.paste(Image.open(io.BytesIO(faces.store.read(faces.names[i]))), (i * 178, 0))
    sheet.resize((sheet.width // 2, sheet.height // 2)).save(out / f"{NAME}.png")


def maps(weights: str | None, name: str, out: Path) -> None:
    """`NAME-maps.png`: where a network sees attributes in the photo, and how probable they are."""
    from skimage import data

    # Maps need the network in torch, on a CPU too.
    model = celebattr.load(bundle_file(weights, gpu=True))
    (face,) = model(data.astronaut())
    attributes = ("Smiling", "Bangs", "Mouth_Slightly_Open", "Young")
    figure, axes = pyplot.subplots(1, len(attributes), figsize=(9, 2.8), layout="constrained")
    for axis, attribute in zip(axes, attributes, strict=True):
        axis.imshow(model.heatmap(data.astronaut(), attribute).crop((100, 0, 340, 250)))
        probability = face.probabilities[attribute]
        percent = ">99" if probability > 0.99 else f"{probability:.0%}"[:-1]
        axis.set_title(f"{attribute.replace('_', ' ')}, {percent} %", fontsize=9)
        axis.axis("off")
    figure.savefig(out / f"{name}-maps.png", dpi=80)
    pyplot.close(figure)


def main() -> None:
    """Makes the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cnn", help="a run of `celebattr train --arch cnn`")
    parser.add_argument("--unet", help="a run of `celebattr train --arch unet`")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    hand_made(args.out)
    learned(None, args.out)
    drawn(args.out)
    maps(None, "resnet50", args.out)
    if args.cnn is not None:
        learned(args.cnn, args.out)
    if args.unet is not None:
        maps(args.unet, "unet", args.out)


if __name__ == "__main__":
    main()
