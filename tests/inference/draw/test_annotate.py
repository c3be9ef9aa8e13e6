from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from celebattr.attributes import CELEBA
from celebattr.errors import DataError
from celebattr.inference.draw import annotate, layout
from celebattr.predictions import FaceBox, Prediction


def prediction(
    box: FaceBox | None, *, present: int = 10, face: int = 1, faces: int = 1
) -> Prediction:
    probabilities = {name: 0.99 - 0.02 * i for i, name in enumerate(CELEBA)}
    names = list(CELEBA[:present])
    return Prediction("a.jpg", face, faces, box, probabilities, names, names[-1:])


def grey(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), (128, 128, 128))


def crowd(rows: int, columns: int, width: int, height: int) -> list[Prediction]:
    count, across, down = rows * columns, width / columns, height / rows
    return [
        prediction(
            FaceBox(
                across * (i % columns) + across * 0.3,
                down * (i // columns) + down * 0.3,
                across * (i % columns) + across * 0.7,
                down * (i // columns) + down * 0.7,
                0.9,
            ),
            face=i + 1,
            faces=count,
        )
        for i in range(count)
    ]


def test_the_photo_itself_is_left_alone() -> None:
    photo = grey(640, 480)
    picture = annotate.annotate(photo, [prediction(FaceBox(200, 100, 300, 240, 0.9))])
    assert picture.size == photo.size
    assert photo.getcolors() == [(640 * 480, (128, 128, 128))]
    assert picture.getpixel((200, 170)) == annotate.COLOURS[0]


def test_the_panel_leaves_a_face_with_room_beside_it_free() -> None:
    picture = annotate.annotate(grey(800, 600), [prediction(FaceBox(300, 200, 400, 340, 0.9))])
    inside = picture.crop((308, 208, 392, 332))
    assert inside.getcolors() == [(84 * 124, (128, 128, 128))]


def test_present_attributes_are_listed_by_probability_and_doubt_is_marked() -> None:
    one = Prediction(
        "a.jpg",
        1,
        1,
        None,
        {"Wearing_Hat": 0.6, "Smiling": 0.9, "Bald": 0.1},
        ["Wearing_Hat", "Smiling"],
        ["Wearing_Hat", "Bald"],
    )
    assert annotate.labels(one) == ["Smiling", "Wearing Hat ?"]


def test_a_small_photo_is_enlarged_by_a_whole_factor() -> None:
    assert annotate.annotate(grey(178, 218), [prediction(None)]).size == (3 * 178, 3 * 218)
    assert annotate.annotate(grey(480, 900), [prediction(None)]).size == (480, 900)


@pytest.mark.parametrize("size", [(1, 1), (3, 2000), (9000, 12), (40, 40), (4000, 3000)])
def test_any_size_of_photo_is_drawn_on(size: tuple[int, int]) -> None:
    width, height = size
    boxes = [
        FaceBox(-5.0, -5.0, width / 2, height / 2, 0.9),
        FaceBox(width / 2, height / 2, width + 9.0, height + 9.0, 0.8),
    ]
    faces = [prediction(box, face=i, faces=2) for i, box in enumerate(boxes)]
    assert max(annotate.annotate(grey(*size), faces).size) >= max(size)


@pytest.mark.parametrize("present", [0, 1, 40])
def test_any_number_of_attributes_is_drawn(present: int) -> None:
    picture = annotate.annotate(grey(178, 218), [prediction(None, present=present)])
    assert picture.getcolors() != [(picture.width * picture.height, (128, 128, 128))]


def test_a_photo_without_faces_comes_back_as_it_was() -> None:
    assert annotate.annotate(grey(600, 500), []).getcolors() == [(300_000, (128, 128, 128))]


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_other_modes_become_rgb(mode: str) -> None:
    picture = annotate.annotate(grey(500, 500).convert(mode), [prediction(None)])
    assert picture.mode == "RGB"


@pytest.mark.parametrize(("rows", "columns"), [(1, 2), (2, 3), (5, 6), (12, 12)])
def test_panels_stay_inside_and_off_each_other_and_off_other_faces(rows: int, columns: int) -> None:
    from PIL import ImageFont

    size = (1200, 800)
    faces = [
        (one.box.left, one.box.top, one.box.right, one.box.bottom)
        for one in crowd(rows, columns, *size)
        if one.box
    ]
    lists = [[f"attribute number {i}" for i in range(10)] for _ in faces]
    text = layout.Text(ImageFont.load_default(18), numbered=True)
    panels = layout.plan(size, lists, faces, text)
    assert len(panels) == len(faces)
    assert any(panels)
    for i, panel in enumerate(panels):
        if panel is None:
            continue
        left, top, right, bottom = panel.rect
        assert 0 <= left < right <= size[0]
        assert 0 <= top < bottom <= size[1]
        others = [*faces[:i], *faces[i + 1 :]]
        others += [other.rect for j, other in enumerate(panels) if other and j != i]
        hidden = sum(layout.shared(panel.rect, other) for other in others)
        assert hidden <= 0.1 * layout.area(panel.rect)


def test_shortened_lists_say_how_much_is_missing() -> None:
    from PIL import ImageFont

    text = layout.Text(ImageFont.load_default(18), numbered=True)
    faces = [(100.0 * i, 100.0, 100.0 * i + 60, 180.0) for i in range(8)]
    lists = [[f"attribute {i}" for i in range(20)] for _ in faces]
    panels = [panel for panel in layout.plan((800, 600), lists, faces, text) if panel]
    assert panels
    for panel in panels:
        kept = len(panel.lines) - 1
        assert panel.lines[-1] == f"+{20 - kept} more"


OUT = Path("out")


def test_relative_names_keep_their_folders() -> None:
    assert annotate.output_name("a/x.jpg", OUT) == OUT / "a" / "x.annotated.jpg"
    assert annotate.output_name("./b/x.PNG", OUT) == OUT / "b" / "x.annotated.PNG"


def test_no_two_inputs_share_an_output_and_none_leaves_the_folder() -> None:
    inputs = [
        *("x.jpg", "a/x.jpg", "b/x.jpg", "x.png", "x.webp", "x.jpeg", "x.JPG", "a_x.jpg", "x"),
        *("/a/x.jpg", "../a/x.jpg", "../../a/x.jpg", "a/../x.jpg", "up/a/x.jpg", "x.gif"),
        *("-", "..", "/", "a/..", "x.webp.jpg", ".jpg", "a b\n.jpg", "caf\udce9.jpg"),
        *("é" * 120 + ".jpg", "é" * 119 + "è.jpg", "n" * 255, "stdin.jpg"),
    ]
    outputs = [annotate.output_name(path, OUT) for path in inputs]
    assert len(set(outputs)) == len(inputs)
    for output in outputs:
        assert output.parts[0] == "out"
        assert ".." not in output.parts
        assert output.suffix.lower() in (".jpg", ".jpeg", ".png")
        assert len(output.name.encode("utf-8", "surrogateescape")) < 240


def test_pictures_are_saved_in_the_format_of_their_suffix(tmp_path: Path) -> None:
    for name, format in (("deep/er/x.jpg", "JPEG"), ("x.PNG", "PNG")):
        annotate.save(grey(30, 20), tmp_path / name)
        with Image.open(tmp_path / name) as picture:
            assert (picture.format, picture.size) == (format, (30, 20))


def test_a_picture_too_long_for_jpeg_is_made_to_fit(tmp_path: Path) -> None:
    annotate.save(grey(70_000, 4), tmp_path / "x.jpg")
    with Image.open(tmp_path / "x.jpg") as picture:
        assert picture.width == 65_500


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"x\.jpg"):
        annotate.save(grey(4, 4), tmp_path / "file" / "x.jpg")
