"""The cost of finding and aligning faces: crops as they are, and pasted into larger scenes.

    python benchmarks/uncropped.py --data CELEBA --weights BUNDLE [--backgrounds PHOTOS]

Each validation crop is pasted into a larger scene, at a random size, place and roll, saved as a
JPEG, and goes the way of a photo that `celebattr predict` is given: found, aligned, scored. The
same network scores the crop itself. Scenes are smooth random colours, or parts of the photos of
a folder, which must not show faces.
"""

from __future__ import annotations

import argparse
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from celebattr.data.layouts.load import load_dataset
from celebattr.evaluation import bootstrap
from celebattr.images.align import align
from celebattr.images.detect import YuNet
from celebattr.images.open import open_image
from celebattr.images.photo import Photo
from celebattr.models.backends import open_backend

HEIGHTS = (109, 654)
"""Heights of the pasted crop, in pixels: half to three times its own, uniform in the logarithm."""
ROLL = 30.0
"""Largest roll to either side, in degrees; uniform."""
MARGIN = (1.5, 4.0)
"""Sides of the scene over the height of the crop, at least and at most."""


def scene(
    crop_HWC: NDArray[np.uint8], backgrounds: list[Path], random: np.random.Generator
) -> tuple[bytes, tuple[float, float]]:
    """Paste a crop into a scene.

    Returns:
        The scene as a JPEG, and where the middle of the crop lies in it, x and y in pixels.
    """
    height = float(np.exp(random.uniform(*np.log(HEIGHTS))))
    scale = height / crop_HWC.shape[0]
    shape = (np.array([1.0, 1.4]) * height * random.uniform(*MARGIN)).astype(int)
    if backgrounds:
        photo = open_image(backgrounds[random.integers(len(backgrounds))])
        image_HWC = cv2.resize(np.asarray(photo), (shape[1], shape[0]))
    else:
        coarse = random.integers(0, 256, (5, 7, 3), np.uint8)
        image_HWC = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    if scale < 1.0:  # a warp would alias
        size = (round(crop_HWC.shape[1] * scale), round(height))
        crop_HWC = cv2.resize(crop_HWC, size, interpolation=cv2.INTER_AREA)
        scale = height / crop_HWC.shape[0]
    reach = 0.65 * height  # of half the crop's diagonal
    centre = [float(random.uniform(reach, side - reach)) for side in shape[::-1]]
    middle = ((crop_HWC.shape[1] - 1) / 2, (crop_HWC.shape[0] - 1) / 2)
    matrix = cv2.getRotationMatrix2D(middle, random.uniform(-ROLL, ROLL), scale)
    matrix[:, 2] += np.array(centre) - middle
    cv2.warpAffine(
        crop_HWC,
        matrix,
        (int(shape[1]), int(shape[0])),
        dst=image_HWC,
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_TRANSPARENT,
    )
    data = io.BytesIO()
    Image.fromarray(image_HWC).save(data, "JPEG", quality=92)
    return data.getvalue(), (centre[0], centre[1])


def found_again(
    data: bytes, centre: tuple[float, float], detector: YuNet
) -> NDArray[np.uint8] | None:
    """Find and align the face of a scene, as `celebattr predict` does; None if not found."""
    photo = Photo(data, 640)
    for face in detector.detect(photo):
        box = face.box
        if box.left <= centre[0] <= box.right and box.top <= centre[1] <= box.bottom:
            return align(photo, face, detector)[0]
    return None


def main() -> None:
    """Print the difference with its interval."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", required=True, action="append", help="repeat for several")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--backgrounds", type=Path, help="folder of photos without faces")
    arguments = parser.parse_args()
    validation = load_dataset((arguments.data,)).split("validation")
    chosen = np.linspace(0, len(validation) - 1, arguments.images).round().astype(int)
    backgrounds = sorted(arguments.backgrounds.iterdir()) if arguments.backgrounds else []
    detector = YuNet()

    def pair(index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        crop_HWC = validation.read(index)
        random = np.random.default_rng([0, index])
        return crop_HWC, found_again(*scene(crop_HWC, backgrounds, random), detector)

    with ThreadPoolExecutor(2) as pool:
        pairs = list(pool.map(pair, chosen.tolist()))
    kept = np.array([again is not None for _, again in pairs])
    rows = chosen[kept]
    truth = validation.targets_NA[rows] == 1
    people = validation.identities_N
    resamples = bootstrap.Resamples.draw(len(rows), None if people is None else people[rows])
    print(f"{kept.sum()} of {len(kept)} faces found")
    for weights in arguments.weights:
        backend = open_backend(weights)
        thresholds = np.array(backend.card.thresholds)
        assert (thresholds == 0.5).all(), "decisions at logit 0"
        aligned, again = (
            np.concatenate(
                [
                    backend.logits(np.stack(frames[at : at + 32])) >= 0
                    for at in range(0, len(frames), 32)
                ]
            )
            for frames in (
                [crop for crop, again in pairs if again is not None],
                [again for _, again in pairs if again is not None],
            )
        )
        per_image = (again == truth).mean(axis=1) - (aligned == truth).mean(axis=1)
        samples = resamples.sums(per_image) / resamples.sums(np.ones(len(rows)))
        low, high = bootstrap.interval(samples) or (np.nan, np.nan)
        print(
            f"{weights}: aligned {100 * (aligned == truth).mean():.2f} %, found and aligned "
            f"{100 * (again == truth).mean():.2f} %; difference {100 * per_image.mean():+.2f} "
            f"[{100 * low:+.2f}, {100 * high:+.2f}] points; "
            f"{100 * (again != aligned).mean():.2f} % of decisions differ"
        )


if __name__ == "__main__":
    main()
