from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from celebattr.constants import CROP_SIZE
from celebattr.images.align import (
    ANCHORS_32,
    Affine,
    align,
    anchors,
    apply,
    fit,
    frame_transform,
    inverse,
    warp,
)
from celebattr.images.detect import Face, YuNet
from celebattr.images.photo import Photo
from celebattr.predictions import FaceBox


class Blind:
    """A detector that finds nothing."""

    def detect(self, image_HWC: np.ndarray) -> list[Face]:
        return []

    look = detect


class Elsewhere(Blind):
    """A detector that sees a face in the corner of every crop."""

    def look(self, image_HWC: np.ndarray) -> list[Face]:
        return [face_at(similarity(0.2, 0.0, 20.0, 20.0))]


def similarity(scale: float, degrees: float, x: float, y: float) -> Affine:
    turn = scale * np.exp(1j * np.deg2rad(degrees))
    return np.array([[turn.real, -turn.imag, x], [turn.imag, turn.real, y]])


def face_at(from_frame: Affine) -> Face:
    """An ideal face of the frame, somewhere in a photo."""
    eyes, mouth = ANCHORS_32[:2], ANCHORS_32[2]
    points = np.array([*eyes, (88, 135), mouth - 17, mouth + 17])
    corners = apply(from_frame, np.array([[46.0, 66.0], [131.0, 183.0]]))
    box = FaceBox(*corners.min(axis=0), *corners.max(axis=0), 0.9)
    return Face(box, apply(from_frame, points).astype(np.float32))


@pytest.fixture(scope="module")
def yunet() -> YuNet:
    return YuNet()


@pytest.fixture(scope="module")
def upright(yunet) -> Affine:
    photo = astronaut()
    return frame_transform(photo, yunet.detect(Photo.of(photo))[0], yunet)


def turned(photo: np.ndarray, degrees: float) -> tuple[np.ndarray, Affine]:
    """The photo turned against the clock about its middle, on a canvas that holds it all."""
    height, width = photo.shape[:2]
    side = int(np.hypot(height, width))
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    matrix[:, 2] += side / 2 - np.array([width, height]) / 2
    return cv2.warpAffine(photo, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE), matrix


def distance(one: Affine, other: Affine) -> float:
    """Mean distance of the anchors between two transforms into the frame, in its pixels."""
    points = apply(inverse(one), ANCHORS_32)
    return float(np.linalg.norm(apply(other, points) - ANCHORS_32, axis=1).mean())


@pytest.mark.parametrize("scale", [0.1, 1.0, 7.5])
@pytest.mark.parametrize("degrees", [-170.0, -30.0, 0.0, 90.0])
def test_a_known_similarity_is_recovered(scale, degrees):
    known = similarity(scale, degrees, 12.0, -3.5)
    points = apply(inverse(known), ANCHORS_32)
    assert np.allclose(fit(points), known)


def test_the_fit_never_reflects():
    mirrored = ANCHORS_32[[1, 0, 2]]
    assert np.linalg.det(fit(mirrored)[:, :2]) > 0


def test_the_fit_has_the_least_squared_error_of_all_similarities():
    rng = np.random.default_rng(0)
    points = ANCHORS_32 + rng.normal(0, 5, (3, 2))
    best = fit(points)

    def error(transform: Affine) -> float:
        return float(((apply(transform, points) - ANCHORS_32) ** 2).sum())

    for change in rng.normal(0, 0.01, (50, 4)):
        turn, shift = change[:2], change[2:]
        worse = best + np.array([[turn[0], -turn[1], shift[0]], [turn[1], turn[0], shift[1]]])
        assert error(best) < error(worse)


def test_a_transform_and_its_inverse_cancel():
    known = similarity(0.3, 40.0, -5.0, 9.0)
    assert np.allclose(apply(inverse(known), apply(known, ANCHORS_32)), ANCHORS_32)


def test_an_aligned_crop_under_the_identity_stays_as_it_is():
    crop = np.random.default_rng(0).integers(0, 256, (*CROP_SIZE, 3), dtype=np.uint8)
    assert np.array_equal(warp(crop, similarity(1.0, 0.0, 0.0, 0.0), *CROP_SIZE), crop)


def test_the_border_is_repeated_where_the_photo_ends():
    photo = np.zeros((50, 40, 3), np.uint8)
    photo[0], photo[-1], photo[:, 0], photo[:, -1] = (200, 0, 0), (0, 200, 0), (0, 0, 200), 77
    result = warp(photo, similarity(1.0, 0.0, 69.0, 84.0), *CROP_SIZE)
    assert np.all(result[84:134, :69] == (0, 0, 200))
    assert np.all(result[84:134, 109:] == 77)
    assert np.all(result[:84, 70:108] == (200, 0, 0))
    assert np.all(result[135:, 70:108] == (0, 200, 0))


@pytest.mark.parametrize("factor", [2, 5, 12])
def test_a_much_larger_photo_is_antialiased_and_stays_in_place(factor):
    rng = np.random.default_rng(0)
    small = cv2.GaussianBlur(rng.integers(0, 256, (*CROP_SIZE, 3), dtype=np.uint8), (0, 0), 3)
    large = np.repeat(np.repeat(small, factor, axis=0), factor, axis=1)
    # Stripes one pixel wide: without antialiasing they would come back as moire.
    large = np.clip(large.astype(int) + np.resize([40, -40], large.shape[1])[:, None], 0, 255)
    # The middle of a pixel of the small image is the middle of factor x factor large ones.
    shift = 0.5 / factor - 0.5
    result = warp(large.astype(np.uint8), similarity(1.0 / factor, 0.0, shift, shift), *CROP_SIZE)
    # An odd number of stripes does not cancel altogether.
    assert np.abs(result.astype(int) - small).mean() < (1.0 if factor % 2 == 0 else 9.0)


def test_the_part_that_is_cut_out_first_changes_nothing():
    photo = astronaut()
    transform = similarity(0.8, 25.0, -40.0, -110.0)
    whole = cv2.warpAffine(photo, transform, CROP_SIZE[::-1], borderMode=cv2.BORDER_REPLICATE)
    assert np.abs(warp(photo, transform, *CROP_SIZE).astype(int) - whole).max() <= 2


def test_a_frame_beside_the_photo_shows_its_border():
    photo = np.full((30, 30, 3), 9, np.uint8)
    assert np.all(warp(photo, similarity(1.0, 0.0, 5000.0, -5000.0), *CROP_SIZE) == 9)


def test_a_face_that_is_not_found_again_keeps_its_first_landmarks():
    from_frame = similarity(1.7, 20.0, 60.0, -10.0)
    transform = frame_transform(astronaut(), face_at(from_frame), Blind())
    assert distance(transform, inverse(from_frame)) < 0.01


def test_another_face_in_the_crop_is_not_taken_for_the_same():
    from_frame = similarity(1.0, 0.0, 150.0, 0.0)
    transform = frame_transform(astronaut(), face_at(from_frame), Elsewhere())
    assert distance(transform, inverse(from_frame)) < 0.01


def test_a_profile_whose_eyes_coincide_keeps_its_size():
    from_frame = similarity(1.0, 0.0, 150.0, 0.0)
    profile = face_at(from_frame)
    profile.landmarks_52[1] = profile.landmarks_52[0]
    transform = frame_transform(astronaut(), profile, Blind())
    assert 0.8 < np.hypot(*transform[:, 0]) < 1.25


@pytest.mark.parametrize("value", [0.0, 250.0])
def test_landmarks_that_make_no_sense_give_way_to_the_box(value):
    face = face_at(similarity(2.0, 0.0, 40.0, 10.0))
    face.landmarks_52[:] = value
    transform = frame_transform(astronaut(), face, Blind())
    assert np.allclose(transform[:, :2], 0.5 * np.eye(2), atol=0.02)
    assert distance(transform, inverse(similarity(2.0, 0.0, 40.0, 10.0))) < 2.0


def test_the_astronaut_comes_into_the_frame(yunet):
    photo = astronaut()
    face = yunet.detect(Photo.of(photo))[0]
    crop, transform = align(Photo.of(photo), face, yunet)
    assert np.array_equal(transform, frame_transform(photo, face, yunet))
    assert crop.shape == (*CROP_SIZE, 3)
    assert crop.dtype == np.uint8
    enlarged = np.asarray(Image.fromarray(crop).resize((356, 436)))
    found = yunet.detect(Photo.of(enlarged))
    assert np.abs(anchors(found[0]) / 2 - ANCHORS_32).max() < 5


@pytest.mark.parametrize("degrees", [-30.0, 15.0, 30.0, 60.0, 90.0, 180.0, 270.0])
def test_a_turned_photo_gives_the_same_crop(yunet, upright, degrees):
    photo, matrix = turned(astronaut(), degrees)
    transform = frame_transform(photo, yunet.detect(Photo.of(photo))[0], yunet)
    # The two transforms, both from the photo as it was.
    linear = transform[:, :2] @ matrix[:, :2]
    whole = np.column_stack([linear, apply(transform, matrix[:, 2][None])[0]])
    # A small second look takes a face at 30 degrees for more upright than it is.
    assert distance(whole, upright) < (8 if abs(degrees) == 30.0 else 5)


def test_a_mirrored_photo_gives_the_mirrored_crop(yunet, upright):
    photo = np.ascontiguousarray(astronaut()[:, ::-1])
    transform = frame_transform(photo, yunet.detect(Photo.of(photo))[0], yunet)
    eyes = apply(inverse(upright), ANCHORS_32) * [-1, 1] + [511, 0]
    assert np.abs(apply(transform, eyes[[1, 0, 2]]) - ANCHORS_32).max() < 6
