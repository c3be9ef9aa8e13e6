"""A safetensors bundle becomes an ONNX bundle: float32, or int8 weights and activations.

The graph takes uint8 frames [N, 218, 178, 3] and gives logits [N, A]: resizing and normalisation
are inside, so nobody who runs it can get them wrong. The card travels in its metadata.
"""

from __future__ import annotations

import dataclasses
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from celebattr.constants import FRAME_SIZE
from celebattr.errors import MissingExtraError
from celebattr.inference.integers import resize_in_integers
from celebattr.io.files import write_bytes
from celebattr.models import bundle
from celebattr.models.card import NO_HASH, Card

if TYPE_CHECKING:
    from celebattr.data.dataset import FaceDataset

OPSET = 18
CALIBRATION_BATCH = 16

# What onnxruntime runs in int8, beside the columns of the resizing. Its rows and the normalisation
# stay in float.
_QUANTISED = ["Conv", "Gemm", "Add", "MaxPool", "GlobalAveragePool", "Relu"]


def export(source: Path, target: Path, *, calibration: FaceDataset | None = None) -> Card:
    """Writes an ONNX bundle.

    Args:
        source: a safetensors bundle.
        target: the .onnx file to write.
        calibration: images whose activations set the int8 ranges; without them the graph stays
            float32.

    Raises:
        WeightsError: the source is not a safetensors bundle.
        MissingExtraError: torch or onnx is not installed.
    """
    try:
        import onnx
        import torch
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "train") from error
    from celebattr.models.preprocess import Preprocess, PreprocessSpec

    card, network = bundle.load(source)
    spec = PreprocessSpec.from_dict(card.preprocess)
    module = torch.nn.Sequential(Preprocess(spec), network).eval()
    example = torch.zeros((2, *FRAME_SIZE, 3), dtype=torch.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float.onnx"
        _quietly_export(module, example, path)
        if calibration is not None:
            path = _quantise(path, calibration)
        model = onnx.load(path)
    onnx.checker.check_model(model)
    precision = "float32" if calibration is None else "int8"
    card = dataclasses.replace(card, precision=precision, sha256=NO_HASH)
    data = bundle.with_onnx_card(model.SerializeToString(), card.to_json())
    write_bytes(target, bundle.seal(data))
    return bundle.card_of(target)


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
    """Static quantisation, per channel, ranges from images. Returns the new file."""
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches = _frames(calibration, range(len(calibration)))

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            batch = next(self.batches, None)
            return None if batch is None else {"frames": batch}

    prepared, quantised = path.with_name("prepared.onnx"), path.with_name("int8.onnx")
    resize_in_integers(path)
    # This fuses each norm into its convolution first.
    quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
    quantization.quantize_static(
        str(prepared),
        str(quantised),
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=_QUANTISED,
        per_channel=True,
        # Weights of 7 bits: processors without VNNI add pairs of products in 16 bits, where those
        # of 8-bit weights overflow (1.5 points of accuracy were lost there).
        reduce_range=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        calibrate_method=quantization.CalibrationMethod.MinMax,
    )
    return quantised


def _frames(dataset: FaceDataset, indices: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
    for at in range(0, len(indices), CALIBRATION_BATCH):
        yield np.stack([dataset.read(i) for i in indices[at : at + CALIBRATION_BATCH]])
