"""Faces found by `--faces all` in large scenes, by their size, and the time it takes.

    python benchmarks/detection.py --data CELEBA --backgrounds PHOTOS [--scenes N]

Aligned validation crops are pasted, without overlap, at random sizes, places and rolls into scenes
of several sizes and shapes: patchworks of the photos of a folder, which must not show faces. Each
scene is saved as a JPEG and goes the way of a photo that `celebattr predict` is given. A face
counts as found if a box fits its own with an intersection over union of 0.4 or more; boxes that fit
none are counted as wrong.
"""

from __future__ import annotations

import argparse
import io
import itertools
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from celebattr.data.layouts.load import load_dataset
from celebattr.images.align import BOX_CENTRE, BOX_SIDE
from celebattr.images.detect import YuNet
from celebattr.images.open import open_image
from celebattr.images.photo import Photo

SCENES = {  # width and height in pixels
    "0.3 megapixels": (640, 480),
    "2 megapixels": (1600, 1200),
    "12 megapixels": (4000, 3000),
    "24 megapixels": (6000, 4000),
    "50 megapixels": (8660, 5773),
    "panorama": (12000, 1200),
    "flat panorama": (20000, 500),
}
FACES = 24
"""Faces per scene at most; fewer where there is no room."""
SIZES = (40.0, 500.0)
"""Square root of the area of a face's box, in pixels of the scene: uniform in the logarithm."""
GROUPS = (40, 48, 60, 80, 120, 200, 500)
"""Sizes at which the results are cut into rows."""
ROLL = 20.0
"""Largest roll to either side, in degrees; uniform."""
PATCH = (900, 2200)
"""Longer side of a patch of the background, in pixels."""

Box = tuple[float, float, float, float]


def patchwork(
    width: int, height: int, photos: list[NDArray[np.uint8]], random: np.random.Generator
) -> NDArray[np.uint8]:
    """Return a scene covered with parts of photos."""
    scene_HWC = np.zeros((height, width, 3), np.uint8)
    side = int(random.integers(*PATCH))
    for top in range(0, height, side):
        for left in range(0, width, side):
            photo = photos[random.integers(len(photos))]
            scale = side / min(photo.shape[:2])
            patch = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
            target = scene_HWC[top : top + side, left : left + side]
            target[:] = patch[: target.shape[0], : target.shape[1]]
    return scene_HWC


def paste(
    scene_HWC: NDArray[np.uint8],
    crop_HWC: NDArray[np.uint8],
    size: float,
    random: np.random.Generator,
    taken: list[Box],
) -> Box | None:
    """Paste a crop where there is room; return its face's box, or None."""
    scale = size / BOX_SIDE
    height, width = (scale * np.array(crop_HWC.shape[:2])).round().astype(int)
    reach = int(np.hypot(height, width)) // 2 + 1
    area = (scene_HWC.shape[1] - 2 * reach, scene_HWC.shape[0] - 2 * reach)
    if min(area) < 1:
        return None
    for _ in range(30):
        x, y = reach + random.integers(area[0]), reach + random.integers(area[1])
        around = (x - reach, y - reach, x + reach, y + reach)
        if not any(
            around[0] < b[2] and b[0] < around[2] and around[1] < b[3] and b[1] < around[3]
            for b in taken
        ):
            break
    else:
        return None
    small = cv2.resize(
        crop_HWC,
        (int(width), int(height)),
        interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC,
    )
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), random.uniform(-ROLL, ROLL), 1.0)
    turn[:, 2] += reach - np.array([width, height]) / 2
    view = np.ascontiguousarray(scene_HWC[around[1] : around[3], around[0] : around[2]])
    cv2.warpAffine(
        small,
        turn,
        view.shape[1::-1],
        dst=view,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_TRANSPARENT,
    )
    scene_HWC[around[1] : around[3], around[0] : around[2]] = view
    taken.append(around)
    middle = turn[:, :2] @ (scale * np.array(BOX_CENTRE)) + turn[:, 2] + np.array(around[:2])
    half = size / 2
    return (middle[0] - half, middle[1] - half, middle[0] + half, middle[1] + half)


def overlap(one: Box, other: Box) -> float:
    """Return the intersection over union of two boxes."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    both = max(wide, 0.0) * max(high, 0.0)
    areas = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (one, other))
    return both / (areas - both)


def main() -> None:
    """Print how many faces are found in each kind of scene, how many are wrong, and the time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--backgrounds", type=Path, required=True, help="photos without faces")
    parser.add_argument("--scenes", type=int, default=4, help="of each kind")
    parser.add_argument("--largest", action="store_true", help="without --faces all")
    arguments = parser.parse_args()
    validation = load_dataset((arguments.data,)).split("validation")
    photos = [np.asarray(open_image(path)) for path in sorted(arguments.backgrounds.iterdir())]
    detector = YuNet()
    pasted: Counter[int] = Counter()
    found: Counter[int] = Counter()
    for name, (width, height) in SCENES.items():
        here, seen, wrong, opening, finding = 0, 0, 0, 0.0, 0.0
        for number in range(arguments.scenes):
            random = np.random.default_rng([0, width, number])
            scene_HWC = patchwork(width, height, photos, random)
            taken: list[Box] = []
            truth: list[tuple[Box, float]] = []
            for _ in range(FACES):
                size = float(np.exp(random.uniform(*np.log(SIZES))))
                crop_HWC = validation.read(int(random.integers(len(validation))))
                if box := paste(scene_HWC, crop_HWC, size, random, taken):
                    truth.append((box, size))
            file = io.BytesIO()
            Image.fromarray(scene_HWC).save(file, "JPEG", quality=90)
            start = time.process_time()
            photo = Photo(file.getvalue(), 640)
            opened = time.process_time()
            faces = detector.detect(photo, every=not arguments.largest)
            finding += time.process_time() - opened
            opening += opened - start
            boxes = [(f.box.left, f.box.top, f.box.right, f.box.bottom) for f in faces]
            wrong += sum(max((overlap(b, t) for t, _ in truth), default=0) < 0.4 for b in boxes)
            for box, size in truth:
                group = max(g for g in GROUPS if g <= size)
                hit = any(overlap(box, other) >= 0.4 for other in boxes)
                pasted[group] += 1
                found[group] += hit
                here += 1
                seen += hit
        print(
            f"{name}, {width}x{height}: {seen} of {here} found ({100 * seen / here:.1f} %), "
            f"{wrong} wrong; open {1000 * opening / arguments.scenes:.0f} ms, "
            f"find {1000 * finding / arguments.scenes:.0f} ms",
            flush=True,
        )
    for low, high in itertools.pairwise(GROUPS):
        print(
            f"{low} to {high} pixels: {found[low]} of {pasted[low]} "
            f"({100 * found[low] / max(pasted[low], 1):.1f} %)"
        )
    total = sum(pasted.values())
    print(f"all: {sum(found.values())} of {total} ({100 * sum(found.values()) / total:.1f} %)")


if __name__ == "__main__":
    main()
