from __future__ import annotations

import contextlib
import dataclasses
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samples
import torch

import celebattr
from celebattr.data.layouts.load import load_dataset
from celebattr.data.synthetic import draw_face
from celebattr.errors import DeviceError, UsageError, WeightsError
from celebattr.inference import export as integers
from celebattr.inference.export import export
from celebattr.models import bundle, decisions, registry
from celebattr.models.backends import OnnxBackend, TorchBackend, open_backend
from celebattr.models.card import Card
from celebattr.models.preprocess import PreprocessSpec


@pytest.fixture(scope="module")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ResNet in place of the others' smaller network: what is exported most."""
    return samples.save_bundle(tmp_path_factory.mktemp("bundle") / "tiny.safetensors", "resnet18")


@pytest.fixture(scope="module")
def tiny_onnx(tiny_bundle: Path) -> Path:
    path = tiny_bundle.with_name("tiny.onnx")
    export(tiny_bundle, path)
    return path


@pytest.fixture(scope="module")
def frames(drawn_celeba: Path) -> np.ndarray:
    dataset = load_dataset([drawn_celeba])
    return np.stack([dataset.read(i) for i in range(8)])


@pytest.fixture(scope="module")
def int8(tiny_bundle: Path, drawn_celeba: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("int8") / "int8.onnx"
    export(tiny_bundle, path, calibration=load_dataset([drawn_celeba]).split("validation"))
    return path


def test_onnx_gives_the_logits_of_torch(
    tiny_bundle: Path, tiny_onnx: Path, frames: np.ndarray
) -> None:
    torch_backend = open_backend(str(tiny_bundle), device="cpu", precision="float32")
    onnx_backend = open_backend(str(tiny_onnx))
    assert isinstance(torch_backend, TorchBackend)
    assert isinstance(onnx_backend, OnnxBackend)
    expected = torch_backend.logits(frames)
    assert expected.shape == (8, 40)
    np.testing.assert_allclose(onnx_backend.logits(frames), expected, atol=1e-4)


LONG = ("resnet50", "resnet50slim", "unet", "cnn")  # cnn is the `tiny_bundle` of all others


@pytest.mark.parametrize(
    "arch",
    [
        pytest.param(name, marks=[pytest.mark.long] if name in LONG else [])
        for name in registry.CATALOG
        if name != "resnet18"
    ],
)
def test_every_architecture_gives_the_same_logits_in_onnx(
    arch: str, frames: np.ndarray, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    head = (8,) if arch in ("mlp", "cnn") else ()
    card = Card("x", arch, ("A", "B"), PreprocessSpec((64, 48)).to_dict(), head=head)
    network = registry.build(card.spec)
    torch.nn.init.normal_(list(network.head.parameters())[-2], std=0.1)
    bundle.save(tmp_path / "x.safetensors", card, network.state_dict())
    assert export(tmp_path / "x.safetensors", tmp_path / "x.onnx").arch == arch
    expected = open_backend(str(tmp_path / "x.safetensors"), precision="float32").logits(frames)
    assert np.ptp(expected, axis=0).min() > 0
    logits = open_backend(str(tmp_path / "x.onnx")).logits(frames)
    np.testing.assert_allclose(logits, expected, atol=1e-4, rtol=1e-3)


def test_any_number_of_frames_goes_through_one_graph(tiny_onnx: Path, frames: np.ndarray) -> None:
    backend = open_backend(str(tiny_onnx))
    together = backend.logits(frames)
    for row in (0, 5):
        np.testing.assert_allclose(
            backend.logits(frames[row : row + 1])[0], together[row], atol=1e-4
        )


def test_the_card_travels_along(tiny_bundle: Path, tiny_onnx: Path) -> None:
    source, exported = bundle.card_of(tiny_bundle), bundle.card_of(tiny_onnx)
    assert exported.precision == "float32"
    assert exported.sha256 != source.sha256
    same = dataclasses.replace(exported, precision=source.precision, sha256=source.sha256)
    assert same == source


def test_int8_is_small_and_decides_mostly_alike(
    tiny_onnx: Path, int8: Path, frames: np.ndarray
) -> None:
    assert bundle.card_of(int8).precision == "int8"
    assert int8.stat().st_size < 0.35 * tiny_onnx.stat().st_size
    whole, small = open_backend(str(tiny_onnx)), open_backend(str(int8))
    a, b = whole.logits(frames), small.logits(frames)
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.98
    assert np.mean((a > 0) == (b > 0)) > 0.9


def test_no_probability_of_int8_stands_still(int8: Path, drawn_celeba: Path) -> None:
    """The last layer is in float: quantised logits would take few values, and tie at 0.5."""
    images = load_dataset([drawn_celeba])
    frames = np.stack([images.read(i) for i in range(len(images))])
    logits_NA = open_backend(str(int8)).logits(frames)
    assert min(len(np.unique(column)) for column in logits_NA.T) > 0.95 * len(frames)


def test_int8_has_the_mean_logits_of_the_float_network(
    tiny_onnx: Path, int8: Path, drawn_celeba: Path
) -> None:
    images = load_dataset([drawn_celeba]).split("validation")
    frames = np.stack([images.read(i) for i in range(len(images))])
    a, b = (open_backend(str(path)).logits(frames) for path in (tiny_onnx, int8))
    assert np.abs(a - b).max() > 1e-3
    np.testing.assert_allclose(a.mean(axis=0), b.mean(axis=0), atol=1e-4)


@pytest.mark.parametrize("kind", ["float", "int8"])
def test_plain_onnxruntime_gives_our_probabilities_and_what_they_mean(
    kind: str, tiny_onnx: Path, int8: Path, frames: np.ndarray
) -> None:
    import onnxruntime

    path = tiny_onnx if kind == "float" else int8
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    logits, probabilities = session.run(None, {"frames": frames})
    ours = open_backend(str(path))
    card = ours.card
    np.testing.assert_allclose(ours.logits(frames), logits, atol=1e-5)
    expected = decisions.probabilities(logits, np.array(card.scale), np.array(card.bias))
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    about = session.get_modelmeta().custom_metadata_map
    assert about["attributes"].split(",") == list(card.attributes)
    for name in ("thresholds", "scale", "bias"):
        assert tuple(map(float, about[name].split(","))) == getattr(card, name)


@pytest.mark.parametrize("kind", ["float", "int8"])
def test_older_readers_can_open_it(kind: str, tiny_onnx: Path, int8: Path) -> None:
    """onnxruntime 1.17 refuses later versions of the format, and domains that it does not know."""
    import onnx

    model = onnx.load(tiny_onnx if kind == "float" else int8)
    assert model.ir_version == 8
    assert {opset.domain for opset in model.opset_import} == {
        node.domain for node in model.graph.node
    }
    if kind == "float":  # a Cast names its type, which converters to half precision overlook
        assert not [node for node in model.graph.node if node.op_type == "Cast"]


def test_int8_weights_cannot_overflow_sums_of_16_bits(
    int8: Path,
) -> None:
    """Without VNNI a processor adds two products of an activation and a weight in 16 bits."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(int8).graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    (resizing,) = (node for node in graph.node if node.op_type == "MatMulInteger")
    columns = stored.pop(resizing.input[1])
    assert columns.shape[0] == 178
    assert columns.min() == 0
    assert np.all(columns.sum(axis=0, dtype=int) == integers.TOTAL)  # so no two of them exceed it
    assert 255 * integers.TOTAL < 2**15
    weights = [array for array in stored.values() if array.dtype == np.int8 and array.ndim > 1]
    assert len(weights) >= 20  # filters of the convolutions
    largest = max(int(np.abs(array.astype(int)).max()) for array in weights)
    assert largest > 60
    assert 2 * 255 * largest < 2**15


@pytest.mark.parametrize("size", [(128, 104), (80, 64), (218, 178), (300, 240)])
def test_the_columns_in_whole_numbers_resize_alike(size: tuple[int, int]) -> None:
    _, columns = PreprocessSpec(size).matrices()
    rounded = integers.whole(columns)
    assert np.abs(rounded / integers.TOTAL - columns).max() < 1 / integers.TOTAL
    frame = np.random.default_rng(0).integers(0, 256, (178, 50))
    assert np.abs(rounded @ frame / integers.TOTAL - columns @ frame).max() < 3


def test_one_flipped_bit_in_onnx_is_noticed(tiny_onnx: Path, tmp_path: Path) -> None:
    data = bytearray(tiny_onnx.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "bad.onnx").write_bytes(data)
    with pytest.raises(WeightsError, match=r"changed since it was sealed.*copy it again"):
        open_backend(str(tmp_path / "bad.onnx"))


@pytest.mark.parametrize(
    ("device", "told"),
    [
        ("mps", r"give --weights a \.safetensors bundle"),
        ("cuda:1", "pip uninstall onnxruntime, then pip install onnxruntime-gpu"),
        ("openvino", "pip install onnxruntime-openvino"),
    ],
)
def test_a_device_that_onnxruntime_lacks_is_refused_with_the_remedy(
    device: str, told: str, tiny_onnx: Path
) -> None:
    with pytest.raises(DeviceError, match=told):
        open_backend(str(tiny_onnx), device=device)


def test_a_device_that_onnxruntime_leaves_for_the_cpu_is_told(
    tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a GPU, onnxruntime takes the CPU without a word."""
    import onnxruntime

    def falls_back(path: str, options: object, providers: list[tuple[str, dict[str, str]]]) -> Any:
        assert providers == [("CUDAExecutionProvider", {"device_id": "1"})]
        return session(path, options, providers=["CPUExecutionProvider"])

    session = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", falls_back)
    backend = open_backend(str(tiny_onnx), device="cuda:1")
    assert backend.description.startswith("CPU")
    assert "cuda:1 cannot be used" in caplog.text


def test_half_precision_has_nearly_the_logits_of_the_float_network(
    tiny_bundle: Path, tiny_onnx: Path, frames: np.ndarray, tmp_path: Path
) -> None:
    half = celebattr.export(tiny_bundle, tmp_path / "half.onnx", half=True)
    assert half.stat().st_size < 0.6 * tiny_onnx.stat().st_size
    backend = open_backend(str(half))
    assert backend.precision == "float16"
    expected = open_backend(str(tiny_onnx)).logits(frames)
    np.testing.assert_allclose(backend.logits(frames), expected, atol=0.02)
    with pytest.raises(UsageError, match="exclude each other"):
        celebattr.export(tiny_bundle, half=True, int8=True, data="drawn")


def test_the_example_of_the_page_gives_our_probabilities(
    tiny_onnx: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs/export.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    shutil.copy(tiny_onnx, tmp_path / "bundle.onnx")
    draw_face({"Smiling"}, np.random.default_rng(0)).save(tmp_path / "crop.png")
    with contextlib.chdir(tmp_path):
        exec(code, {})
        (face,) = celebattr.load("bundle.onnx", faces="none")("crop.png")
    told = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert set(told) == set(face.present)
    for name, probability in told.items():
        assert float(probability) == pytest.approx(face.probabilities[name], abs=1e-3)


def test_a_model_without_a_card_is_not_a_bundle(tiny_onnx: Path, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(tiny_onnx)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "plain.onnx")
    with pytest.raises(WeightsError, match="has no card"):
        open_backend(str(tmp_path / "plain.onnx"))


def test_a_model_whose_weights_lie_in_another_file_is_refused(
    tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx

    onnx.save(
        onnx.load(tiny_onnx),
        tmp_path / "split.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    assert (tmp_path / "weights.bin").stat().st_size > 1000
    monkeypatch.chdir(tmp_path)  # where onnxruntime would look for it
    with pytest.raises(WeightsError, match=r"split\.onnx has weights in other files"):
        open_backend("split.onnx")


def test_a_hostile_onnx_file_is_refused_before_onnxruntime_sees_it(
    tiny_onnx: Path, tmp_path: Path
) -> None:
    """Made of protobuf by hand: no library writes fields in such an order, but any reads them."""
    import onnx

    def field(number: int, data: bytes) -> bytes:
        size = len(data)
        return bytes([*varint(number << 3 | 2), *varint(size)]) + data

    def varint(value: int) -> list[int]:
        return [value] if value < 128 else [value & 127 | 128, *varint(value >> 7)]

    passwd = field(2, b"/etc/passwd") + field(1, b"location")  # value first, then key
    elsewhere = field(8, b"w") + field(13, passwd)
    endless = onnx.helper.make_graph([], "turns", [], [])
    loop = onnx.helper.make_node("Loop", ["turns", "", "x"], ["y"], body=endless)
    nested = field(1, field(5, field(5, elsewhere)))
    cases = {
        "other files": [
            field(7, field(5, elsewhere)),
            field(7, nested),
            field(7, field(5, bytes([14 << 3, 1]))),
            field(7, field(15, field(1, elsewhere))),
        ],
        "loops": [field(7, field(1, loop.SerializeToString())), field(25, b"x"), field(20, b"x")],
        "is (damaged|cut off)": [
            b"\x00\x00",
            b"\x3b",
            field(7, b"\x0a\xff"),
            b"\x3a\xff\xff\xff\xff",
            field(7, b"\x08\x00" * 1_000_001),
        ],
    }
    path = tmp_path / "hostile.onnx"
    for reason, endings in cases.items():
        for data in endings:
            path.write_bytes(tiny_onnx.read_bytes() + data)
            with pytest.raises(WeightsError, match=rf"hostile\.onnx .*{reason}"):
                open_backend(str(path))
