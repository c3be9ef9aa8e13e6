from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from celebattr.constants import MIN_SCORE, weights_folder
from celebattr.errors import WeightsError
from celebattr.images.detect import (
    OVERLAP,
    SEAM,
    TILE,
    Face,
    YuNet,
    join,
    largest,
    tiles,
    unturned,
)
from celebattr.images.photo import Photo
from celebattr.images.yunet import MODEL_FILE
from celebattr.predictions import FaceBox

EYES_AND_MOUTH = np.array([[203, 101], [246, 103], [224, 141]])  # of the astronaut, by hand


@pytest.fixture(scope="module")
def yunet() -> YuNet:
    return YuNet()


def face(left: float, top: float, right: float, bottom: float, score: float = 0.9) -> Face:
    return Face(FaceBox(left, top, right, bottom, score), np.zeros((5, 2), np.float32))


def anchors(found: Face) -> np.ndarray:
    points = found.landmarks_52
    return np.stack([points[0], points[1], (points[3] + points[4]) / 2])


def test_the_astronauts_face_is_found_where_it_is(yunet):
    found = yunet.detect(Photo.of(astronaut()))
    assert len(found) == 1
    assert found[0].box.score > 0.9
    assert found[0].landmarks_52.dtype == np.float32
    assert np.abs(anchors(found[0]) - EYES_AND_MOUTH).max() < 6


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_photo_turned_by_quarters_gives_the_same_landmarks_in_its_own_pixels(yunet, turns):
    photo = astronaut()[:300]
    found = yunet.detect(Photo.of(np.rot90(photo, turns)))
    assert len(found) == 1
    back = unturned(found[0], turns, *photo.shape[:2])
    assert np.abs(anchors(back) - EYES_AND_MOUTH).max() < 6
    box = back.box
    assert 170 < box.left < 190
    assert 165 < box.bottom < 185


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_point_found_in_a_turned_image_maps_back_to_its_pixel(turns):
    image = np.zeros((20, 30), int)
    image[4, 7] = 1
    y, x = np.argwhere(np.rot90(image, turns))[0]
    turned = Face(FaceBox(x, y, x + 1, y + 1, 0.9), np.full((5, 2), (x + 0.5, y + 0.5), np.float32))
    back = unturned(turned, turns, 20, 30)
    assert back.box == FaceBox(7, 4, 8, 5, 0.9)
    assert np.allclose(back.landmarks_52, (7.5, 4.5))


def test_opencv_sees_the_same_faces(yunet):
    reference = cv2.FaceDetectorYN.create(
        str(weights_folder() / MODEL_FILE), "", (320, 320), MIN_SCORE, OVERLAP
    )
    two = np.concatenate([astronaut()[:301], astronaut()[:301, ::-1]], axis=1)
    for photo in (astronaut(), two, two[::2, ::2]):
        reference.setInputSize((photo.shape[1], photo.shape[0]))
        rows = reference.detect(np.ascontiguousarray(photo[:, :, ::-1]))[1]
        rows = rows[np.argsort(-rows[:, 14])]
        found = yunet.look(photo)
        assert len(found) == len(rows) == (2 if photo.shape[1] > photo.shape[0] else 1)
        for face, row in zip(found, rows, strict=True):
            assert np.allclose(face.landmarks_52.ravel(), row[4:14], atol=1e-3)
            box = [face.box.left, face.box.top, face.box.right, face.box.bottom]
            assert np.allclose(box, [*row[:2], *(row[:2] + row[2:4])], atol=1e-3)
            assert face.box.score == pytest.approx(row[14], abs=1e-5)


def test_a_large_photo_is_reported_in_its_own_pixels(yunet):
    photo = np.asarray(Image.fromarray(astronaut()).resize((2048, 1536)))
    found = yunet.detect(Photo.of(photo))
    assert np.abs(anchors(found[0]) / [4, 3] - EYES_AND_MOUTH).max() < 6


def test_a_face_that_fills_a_large_photo_is_found(yunet):
    close_up = astronaut()[75:180, 175:275]
    large = np.asarray(Image.fromarray(close_up).resize((1500, 1575)))
    assert yunet.detect(Photo.of(large))


def test_a_small_face_in_a_large_photo_is_found(yunet):
    photo = np.full((2000, 3000, 3), 120, np.uint8)
    photo[900:1060, 1400:1560] = np.asarray(Image.fromarray(astronaut()).resize((160, 160)))
    assert not yunet.look(photo[::5, ::5])
    found = yunet.detect(Photo.of(photo))
    assert len(found) == 1
    assert np.abs(anchors(found[0]) - (EYES_AND_MOUTH * 160 / 512 + [1400, 900])).max() < 8


def crowd(width: int, height: int, places: list[tuple[int, int, int]]) -> np.ndarray:
    """A grey photo with the astronaut's head at `places`: left, top and pixels of the face."""
    photo = np.full((height, width, 3), 120, np.uint8)
    head = Image.fromarray(astronaut()[20:230, 130:320])  # its face has 100 pixels
    for left, top, side in places:
        small = head.resize((round(1.9 * side), round(2.1 * side)))
        photo[top : top + small.height, left : left + small.width] = np.asarray(small)
    return photo


def test_all_faces_of_all_sizes_are_found_each_once(yunet):
    small = [(140 * i + 20, 160 * j + 30, 44) for i in range(20) for j in range(3)]
    places = [*small, (100, 700, 130), (1500, 560, 460)]
    photo = Photo.of(crowd(3000, 2000, places))
    found = yunet.detect(photo, every=True)
    assert sorted(round(f.side, -2) for f in found) == [0] * 60 + [100, 500]
    assert [f.box.score for f in found] == sorted((f.box.score for f in found), reverse=True)
    assert len(yunet.detect(photo)) < 10  # the main face is among the large ones


@pytest.mark.parametrize(("width", "height"), [(12_000, 700), (700, 12_000)])
def test_a_small_face_in_a_panorama_is_found(yunet, width, height):
    photo = crowd(width, height, [(min(width - 400, 7000), min(height - 400, 7000), 100)])
    (face,) = yunet.detect(Photo.of(photo))
    assert 85 < face.side < 115


@pytest.mark.parametrize("side", [1, 640, 1280, 1281, 2432, 5196, 20_000])
def test_tiles_cover_a_side_overlap_and_are_nearly_equal(side):
    parts = tiles(side)
    assert parts[0][0] == 0
    assert parts[-1][1] == side
    assert max(end - start for start, end, _ in parts) <= TILE
    for (_, end, (_, on)), (start, _, (back, _)) in itertools.pairwise(parts):
        assert SEAM <= end - start < SEAM + len(parts)
        assert on
        assert back
    assert (parts[0][2][0], parts[-1][2][1]) == (False, False)


def test_of_boxes_of_the_same_face_the_best_stays():
    best, same, part = face(0, 0, 100, 100, 0.95), face(5, 5, 110, 110), face(10, 10, 40, 40, 0.92)
    beside = face(90, 0, 190, 100, 0.8)
    assert join([beside, same, part, best]) == [best, beside]
    assert join([beside, part, best], inside=1.0) == [best, part, beside]


def test_small_faces_and_low_scores_are_left_out_when_asked():
    photo = Photo.of(crowd(1600, 1200, [(50, 50, 40), (700, 300, 200)]))
    assert len(YuNet().detect(photo, every=True)) == 2
    (face,) = YuNet(min_face=60).detect(photo, every=True)
    assert face.side > 150
    assert YuNet(min_score=0.99).detect(photo, every=True) == []


def test_faces_smaller_than_usual_are_looked_for_when_asked(yunet):
    photo = Photo.of(crowd(4000, 600, [(2000, 300, 26)]))
    assert yunet.detect(photo) == []
    assert len(YuNet(min_face=20).detect(photo)) == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (900, 1), (5, 5), (218, 178)])
def test_nothing_is_found_in_an_empty_photo_however_small_or_long(yunet, shape):
    assert yunet.detect(Photo.of(np.full((*shape, 3), 90, np.uint8))) == []


def test_many_threads_share_one_detector(yunet):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(yunet.detect, [Photo.of(astronaut())] * 8))
    assert all(faces[0].box == found[0][0].box for faces in found)


def test_making_a_detector_says_nothing_on_stderr(capfd):
    YuNet().detect(Photo.of(astronaut()))
    assert capfd.readouterr() == ("", "")


def test_a_missing_model_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"none\.onnx cannot be read"):
        YuNet(tmp_path / "none.onnx")


def test_a_damaged_model_file_is_named(tmp_path):
    damaged = tmp_path / MODEL_FILE
    damaged.write_bytes((weights_folder() / MODEL_FILE).read_bytes()[:-1])
    with pytest.raises(WeightsError, match=f"{MODEL_FILE} is damaged"):
        YuNet(damaged)


def test_the_larger_of_two_central_faces_is_the_main_one():
    large, small = face(40, 40, 80, 90), face(45, 20, 60, 40, score=0.95)
    assert largest([small, large], 120, 120) is large


def test_a_whole_face_in_the_middle_wins_over_a_larger_one_cut_off_at_the_rim():
    whole, cut = face(170, 120, 230, 200), face(-40, 110, 50, 230, score=0.95)
    assert largest([cut, whole], 300, 400) is whole


def test_a_large_face_wins_over_a_small_one_in_the_middle():
    large, small = face(220, 60, 380, 270), face(190, 140, 210, 165)
    assert largest([small, large], 300, 400) is large


def real_photos(folder: str) -> list[Path]:
    root = os.environ.get("CELEBATTR_TEST_DATA")
    if not root:
        pytest.skip("CELEBATTR_TEST_DATA names no folder of real data")
    return sorted(path for path in (Path(root) / folder).iterdir() if path.suffix != ".csv")


def upright(path: Path) -> Photo:
    return Photo(path, 640)


@pytest.mark.celeba
def test_a_face_is_found_in_98_percent_of_un_cropped_photos(yunet):
    photos = real_photos("wild")[::3]
    assert sum(bool(yunet.detect(upright(path))) for path in photos) >= 0.98 * len(photos)


@pytest.mark.celeba
def test_no_face_is_found_in_photos_of_landscapes_and_animals(yunet):
    photos = [*real_photos("photos/no_face"), *real_photos("photos/orientation")[::4]]
    # One dog looks human enough.
    assert [p.name for p in photos if yunet.detect(upright(p))] in ([], ["dogs.jpg"])


@pytest.mark.celeba
def test_every_single_portrait_gives_one_face(yunet):
    assert [len(yunet.detect(upright(path))) for path in real_photos("photos/single")] == [1] * 5
