"""The first product of the resizing in whole numbers: for the int8 graph.

A frame's bytes become floats and are multiplied by the matrix that resizes columns. With that
matrix in whole numbers too the product needs no floats, and takes a third less time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOTAL = 127
"""What the weights of a resized pixel sum to: the largest int8, which one of them alone may be.
Processors without VNNI add pairs of products of a byte and a weight in 16 bits: 255 * 127 fits."""


def whole(matrix: NDArray[np.float32]) -> NDArray[np.int8]:
    """The nearest whole numbers to a matrix [W, 178] whose rows sum to 1, theirs to `TOTAL`.

    The largest remainders are rounded up.
    """
    exact = matrix.astype(np.float64) * TOTAL
    rounded = np.floor(exact).astype(np.int64)
    for row, left, short in zip(rounded, exact - rounded, TOTAL - rounded.sum(axis=1), strict=True):
        row[np.argsort(-left, kind="stable")[:short]] += 1
    return rounded.astype(np.int8)


def resize_in_integers(path: Path, target: Path) -> None:
    """Rewrite an exported float graph: the product with the columns becomes one of integers.

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
    del graph.value_info[:]  # of tensors that were floats; they are inferred anew
    onnx.save(model, target)


def _after(graph: Any, node: Any) -> Any:
    """The one node that takes what another gives."""
    (found,) = (other for other in graph.node if node.output[0] in other.input)
    return found
