"""Agreement of CelebA's labels with themselves, over pictures that CelebA has twice.

    python benchmarks/label_agreement.py --data CELEBA

prints, for each attribute, how many of them have the same label both times, and how many would if
labels were drawn by chance at their frequency. `celebattr/attributes.py` holds these counts.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from celebattr.data import duplicates, loader
from celebattr.data.layouts.load import load_dataset


def main() -> None:
    """Print the table as Markdown, the least reliable label first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, action="append")
    images = load_dataset(tuple(parser.parse_args().data))
    thumbnails = [
        duplicates.thumbnail(Image.fromarray(crop_HWC), (crop_HWC.shape[1], crop_HWC.shape[0]))
        for batch in loader.batches(images, np.arange(len(images)), batch_size=256, workers=2)
        for crop_HWC in batch.crops_BHWC
    ]
    one_P, other_P = duplicates.pairs(np.stack(thumbnails)).T
    one_PA, other_PA = images.targets_NA[one_P], images.targets_NA[other_P]
    alike_A = (one_PA == other_PA).sum(axis=0)
    share_A = np.concatenate([one_PA, other_PA]).mean(axis=0)
    chance_A = share_A**2 + (1 - share_A) ** 2
    print(f"{len(images):,} images, {len(one_P)} pairs\n")
    print("| attribute | alike | % | by chance |\n| --- | ---: | ---: | ---: |")
    for a in np.argsort(alike_A, kind="stable"):
        print(
            f"| {images.attributes[a]} | {alike_A[a]} | {100 * alike_A[a] / len(one_P):.1f} | "
            f"{100 * chance_A[a]:.1f} |"
        )


if __name__ == "__main__":
    main()
