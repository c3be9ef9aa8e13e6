"""Export of a safetensors bundle to ONNX: float32, float16, or int8 weights and activations.

The graph takes uint8 crops [N, 218, 178, 3] and gives logits and calibrated probabilities, both
[N, A]: resizing, normalisation and calibration are inside, so nobody who runs it can get them
wrong. The card travels in its metadata.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from celebattr.constants import CROP_SIZE
from celebattr.errors import WeightsError, needs, reason
from celebattr.io.files import check_target, temporary_folder, write_bytes
from celebattr.models import bundle
from celebattr.models.card import NO_HASH, Card

if TYPE_CHECKING:
    from celebattr.data.dataset import FaceDataset

OPSET = 18
IR_VERSION = 8
"""Version of the ONNX format that goes with opset 18, for onnxruntime 1.14 and later."""

CALIBRATION_BATCH = 16

_HALF_PRECISION = 1e-2
"""Most that a probability may differ by where a converter made the graph half precision."""

# What onnxruntime runs in int8, beside the columns of the resizing. Its rows and the normalisation
# stay in float.
_QUANTISED = ["Conv", "Gemm", "Add", "MaxPool", "GlobalAveragePool", "Relu"]


def export(
    source: Path,
    target: Path,
    *,
    calibration: FaceDataset | None = None,
    half: bool = False,
    overwrite: bool = False,
) -> Card:
    """Write an ONNX bundle.

    Args:
        source: a safetensors bundle.
        target: the .onnx file to write.
        calibration: images whose activations set the int8 ranges; without them the graph is of
            floats.
        half: store and compute in float16, where there are no such images.
        overwrite: replace a file that exists.

    Raises:
        DataError: the file exists, or cannot be written.
        WeightsError: the source is not a safetensors bundle.
        MissingExtraError: torch or onnx is not installed.
    """
    check_target(target, overwrite=overwrite)
    with needs("train"):
        import onnx
        import torch
    from celebattr.models.preprocess import Preprocess, PreprocessSpec

    card, network = bundle.load(source)
    spec = PreprocessSpec.from_dict(card.preprocess)
    module = torch.nn.Sequential(Preprocess(spec), network).eval()
    example = torch.zeros((2, *CROP_SIZE, 3), dtype=torch.uint8)
    with temporary_folder(target) as folder:
        path = folder / "float.onnx"
        _quietly_export(module, example, path)
        if calibration is None:
            model = onnx.load(path)
            _cast_like_constants(model)
            model = _halved(model) if half else model
            _finish(model, card, np.zeros(len(card.attributes), np.float32))
        else:
            quantised = _quantise(path, calibration)
            model = onnx.load(quantised)
            _finish(
                model, card, _mean_logits(path, calibration) - _mean_logits(quantised, calibration)
            )
    model.ir_version = IR_VERSION
    used = {node.domain for node in model.graph.node}
    for opset in [opset for opset in model.opset_import if opset.domain not in used]:
        model.opset_import.remove(opset)  # some readers refuse a domain that they do not know
    onnx.checker.check_model(model)
    precision = "int8" if calibration is not None else "float16" if half else "float32"
    card = dataclasses.replace(card, precision=precision)
    data = bundle.with_onnx_card(model.SerializeToString(), card)
    write_bytes(target, bundle.seal(data))
    return bundle.card_of(target)


def seal(source: Path, target: Path) -> Card:
    """Seal an ONNX bundle that another program rewrote, once its outputs fit its card.

    Raises:
        WeightsError: it is no ONNX bundle, or its outputs are not what its card says.
    """
    import onnxruntime

    data = bundle.read(source)[:]
    card = bundle.card_in(data, source)
    digest = card.sha256.encode()
    if bundle.kind(data) != "onnx" or data.count(digest) != 1:
        raise WeightsError(f"{source} cannot be sealed: it is no ONNX bundle with one card")
    data = bundle.seal(data.replace(digest, NO_HASH.encode()))
    crops = np.random.default_rng(0).integers(0, 256, (2, *CROP_SIZE, 3), np.uint8)
    try:
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        (name,) = (given.name for given in session.get_inputs())
        logits, probabilities = session.run(["logits", "probabilities"], {name: crops})
        expected = 1 / (1 + np.exp(-(np.array(card.scale) * logits + np.array(card.bias))))
        fits = expected.shape == (2, len(card.attributes)) == probabilities.shape
    except Exception as error:  # onnxruntime's exceptions share no base but this one
        raise WeightsError(f"{source} cannot be sealed: {reason(error)}") from error
    if not (fits and np.allclose(probabilities, expected, atol=_HALF_PRECISION)):
        raise WeightsError(
            f"{source} cannot be sealed: its outputs are not what its card says. Optimise the "
            "original again, with other settings"
        )
    write_bytes(target, data)
    return card


def _quietly_export(module: Any, example: Any, path: Path) -> None:
    import warnings

    import torch

    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # torch's exporter warns of its own deprecated calls, which are not the user's.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                (example,),
                path,
                input_names=["frames"],
                output_names=["logits"],
                dynamic_shapes=({0: torch.export.Dim("N")},),
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    finally:
        logger.setLevel(level)


def _quantise(path: Path, calibration: FaceDataset) -> Path:
    """Quantise statically, per channel, with ranges from images; return the new file."""
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches = _frames(calibration, range(len(calibration)))

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            batch = next(self.batches, None)
            return None if batch is None else {"frames": batch}

    prepared, quantised = path.with_name("prepared.onnx"), path.with_name("int8.onnx")
    resize_in_integers(path, prepared)
    # This fuses each norm into its convolution first.
    quant_pre_process(str(prepared), str(prepared), skip_symbolic_shape=True)
    last_layer = _last_layer(prepared)
    quantization.quantize_static(
        str(prepared),
        str(quantised),
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=_QUANTISED,
        # Quantised logits take few values: 0.6 % of decisions stood at exactly 0.5, and ties cost
        # 0.3 points of mAP (docs/experiments.md). The layer is a thousandth of the work.
        nodes_to_exclude=last_layer,
        per_channel=True,
        # Weights of 7 bits: processors without VNNI add pairs of products in 16 bits, where those
        # of 8-bit weights overflow (1.5 points of accuracy were lost there).
        reduce_range=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        calibrate_method=quantization.CalibrationMethod.MinMax,
        # Mean extremes of batches rather than those of all images: an outlier does not widen the
        # range that all others share.
        extra_options={"CalibMovingAverage": True},
    )
    return quantised


def _last_layer(path: Path) -> list[str]:
    """Return the names of the nodes from features to logits: the last layer and after."""
    import onnx

    graph = onnx.load(path).graph
    makes = {output: node for node in graph.node for output in node.output}
    names, wanted = [], graph.output[0].name
    while wanted in makes:
        node = makes[wanted]
        names.append(node.name)
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            break
        wanted = node.input[0]
    return names


def _cast_like_constants(model: Any) -> None:
    """Make the bytes' cast follow the type of the constants.

    Converters to half precision change the constants' type, but not what a Cast names.
    """
    (cast,) = (node for node in model.graph.node if node.op_type == "Cast")
    (divided,) = (node for node in model.graph.node if cast.output[0] in node.input)
    cast.op_type = "CastLike"
    del cast.attribute[:]
    cast.input.append(divided.input[1])


def _halved(model: Any) -> Any:
    """Convert the graph to half precision, but for its output."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    return convert_float_to_float16(model, keep_io_types=True)


def _mean_logits(path: Path, images: FaceDataset) -> NDArray[np.float32]:
    """Return the mean logits [A] of a graph over some images."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    batches = _frames(images, range(len(images)))
    logits_NA = np.concatenate([session.run(None, {"frames": batch})[0] for batch in batches])
    return np.asarray(logits_NA.mean(axis=0))


def _finish(model: Any, card: Card, correction_A: NDArray[np.float32]) -> None:
    """Append a bias correction, and sigmoid(scale * logit + bias) as a second output.

    Rounding shifts the logits of an int8 network by up to 0.2 on average. Taking that back brought
    its calibration error from 2.02 to 1.87 %, that of the float network.
    Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction",
    ICCV 2019.
    """
    from onnx import helper, numpy_helper

    graph, logits = model.graph, model.graph.output[0]
    for name, values in (
        ("correction", correction_A),
        ("scale", card.scale),
        ("bias", card.bias),
    ):
        graph.initializer.append(numpy_helper.from_array(np.array(values, np.float32), name))
    (last,) = (node for node in graph.node if logits.name in node.output)
    last.output[0] = "uncorrected"
    for kind, inputs, made in (
        ("Add", ["uncorrected", "correction"], "corrected"),
        # Apart from what the others read: converters keep the type of an output.
        ("Identity", ["corrected"], logits.name),
        ("Mul", ["corrected", "scale"], "scaled"),
        ("Add", ["scaled", "bias"], "calibrated"),
        ("Sigmoid", ["calibrated"], "probabilities"),
    ):
        graph.node.append(helper.make_node(kind, inputs, [made], name=f"to_{made}"))
    output = graph.output.add()
    output.CopyFrom(logits)
    output.name = "probabilities"


def _frames(dataset: FaceDataset, indices: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
    for at in range(0, len(indices), CALIBRATION_BATCH):
        yield np.stack([dataset.read(i) for i in indices[at : at + CALIBRATION_BATCH]])


TOTAL = 127
"""Sum of the integer weights of a resized pixel: the largest int8, as one weight may be all.
Processors without VNNI add pairs of products of a byte and a weight in 16 bits: 255 * 127 fits."""


def whole(matrix: NDArray[np.float32]) -> NDArray[np.int8]:
    """Round a matrix [W, 178] whose rows sum to 1 to whole numbers whose rows sum to `TOTAL`.

    The largest remainders are rounded up.
    """
    exact = matrix.astype(np.float64) * TOTAL
    rounded = np.floor(exact).astype(np.int64)
    for row, left, short in zip(rounded, exact - rounded, TOTAL - rounded.sum(axis=1), strict=True):
        row[np.argsort(-left, kind="stable")[:short]] += 1
    return rounded.astype(np.int8)


def resize_in_integers(path: Path, target: Path) -> None:
    """Rewrite a float graph so that the product with the columns is in integers.

    Normalisation comes after it then, with the divisor of bytes and `TOTAL` in its constants: the
    columns' weights sum to 1, so the order makes no difference.
    """
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(path)
    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    cast = next(node for node in graph.node if node.op_type == "Cast")
    divided = _after(graph, cast)
    centred = _after(graph, divided)
    scaled = _after(graph, centred)
    columns = _after(graph, scaled)
    kinds = [node.op_type for node in (divided, centred, scaled, columns)]
    assert kinds == ["Div", "Sub", "Div", "MatMul"], kinds
    matrix = numpy_helper.to_array(stored[columns.input[1]])
    weights = np.ascontiguousarray(whole(matrix.T).T)
    scale = numpy_helper.to_array(stored[divided.input[1]]) * TOTAL
    stored[columns.input[1]].CopyFrom(numpy_helper.from_array(weights, columns.input[1]))
    for name in (centred.input[1], scaled.input[1]):
        larger = (numpy_helper.to_array(stored[name]) * scale).astype(np.float32)
        stored[name].CopyFrom(numpy_helper.from_array(larger, name))

    summed = columns.output[0] + "_integers"
    new = [
        helper.make_node("MatMulInteger", [cast.input[0], columns.input[1]], [summed]),
        helper.make_node("Cast", [summed], [divided.output[0]], to=onnx.TensorProto.FLOAT),
    ]
    scaled.output[0] = columns.output[0]
    at = list(graph.node).index(cast)
    for node in (cast, divided, columns):
        graph.node.remove(node)
    for node in reversed(new):
        graph.node.insert(at, node)
    graph.initializer.remove(stored[divided.input[1]])
    del graph.value_info[:]  # of tensors that were floats; they are inferred again
    onnx.save(model, target)


def _after(graph: Any, node: Any) -> Any:
    """Return the one node that consumes another's output."""
    (found,) = (other for other in graph.node if node.output[0] in other.input)
    return found
