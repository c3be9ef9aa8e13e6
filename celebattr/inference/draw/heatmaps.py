"""Heat maps of the places in a face that speak for an attribute.

A U-Net has such maps itself. A network with stages, a ResNet or a CNN, gets the product of the
first three stages' maps: LayerCAM (P. Jiang et al., "LayerCAM: Exploring Hierarchical Class
Activation Maps for Localization", IEEE TIP 2021) of each, so that a place counts where all three
say so. Early maps are fine, and their places see a part of a face only. The class activation map of
a ResNet's last stage (B. Zhou et al., CVPR 2016) sums up to the logit, but each of its places sees
the whole face: `celebattr evaluate --pointing` measures what that costs (docs/experiments.md).

Other networks get each pixel's value times its gradient, which for a linear model is its summand of
the logit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from celebattr.constants import CROP_SIZE
from celebattr.errors import UsageError, needs
from celebattr.images.align import inverse, warp
from celebattr.images.photo import to_frame
from celebattr.models import bundle
from celebattr.models.weights import bundle_file
from celebattr.predictions import Prediction
from celebattr.reports.formatting import headless

if TYPE_CHECKING:
    from torch import Tensor, nn

STAGES = 3
"""Number of stages used; the places of later ones see more of the face."""

BLUR = 6.0
"""Standard deviation of the blur in pixels of the crop: maps of an early stage are grainy."""

OPACITY = 0.7
"""Opacity of the colours at the map's maximum; they fade to nothing where it is 0."""

COLOURS = "inferno"
"""Colour map of matplotlib: even steps to the eye, in print and for any colour vision."""


class Explainer:
    """A safetensors bundle that makes heat maps, in torch on the CPU.

    Args:
        weights: a bundle, as `models.weights.bundle_file` takes it; None is the shipped one.

    Raises:
        WeightsError: the bundle is missing, damaged, or ONNX.
        MissingExtraError: torch is not installed.
    """

    def __init__(self, weights: str | None) -> None:
        with needs("train"):
            import torch  # noqa: F401
        from celebattr.models.preprocess import Preprocess, PreprocessSpec

        path = bundle_file(weights, gpu=True)
        self.card, network = bundle.load(path, finest=True)
        # Gradients are taken at the maps: none is needed for a weight.
        self._network = network.requires_grad_(False)
        self._preprocess = Preprocess(PreprocessSpec.from_dict(self.card.preprocess))

    def maps(self, crops_NHWC: NDArray[np.uint8], attributes: Sequence[str]) -> NDArray[np.float32]:
        """Return the evidence of each place for each attribute; higher is more.

        Args:
            crops_NHWC: uint8 [N, 218, 178, 3].
            attributes: K names of the bundle's attributes.

        Returns:
            float32 [N, K, 218, 178].

        Raises:
            UsageError: the bundle has no such attribute.
        """
        import torch

        from celebattr.models.unet import MapHead

        unknown = [name for name in attributes if name not in self.card.attributes]
        if unknown:
            raise UsageError(f"{self.card.name} has no attribute {', '.join(unknown)}")
        columns = [self.card.attributes.index(name) for name in attributes]
        images = self._preprocess(torch.tensor(crops_NHWC))
        if isinstance(self._network.head, MapHead):
            own = self._network.head.maps(self._network.backbone(images))
            return self._enlarged(own[:, columns], images.shape[2:])
        if self._network.stages:
            return self._of_stages(images, columns)
        return self._enlarged(self._of_pixels(images, columns), images.shape[2:])

    def on_photo(
        self, image_HWC: NDArray[np.uint8], face: Prediction, attributes: Sequence[str]
    ) -> NDArray[np.float32]:
        """Return the maps of a face warped to its whole, upright photo.

        Returns:
            float32 [K, H, W]; 0 where the photo lies outside the aligned crop.
        """
        import cv2

        height, width = image_HWC.shape[:2]
        if face.to_frame is None:
            frame = to_frame(Image.fromarray(image_HWC))
            back = np.array([[width / CROP_SIZE[1], 0.0, 0.0], [0.0, height / CROP_SIZE[0], 0.0]])
        else:
            transform = np.array(face.to_frame).reshape(2, 3)
            frame = warp(image_HWC, transform, *CROP_SIZE)
            back = inverse(transform)
        maps_KHW = self.maps(frame[None], attributes)[0]
        return np.stack([cv2.warpAffine(heat_HW, back, (width, height)) for heat_HW in maps_KHW])

    def _of_stages(self, images_NCHW: Tensor, columns: list[int]) -> NDArray[np.float32]:
        """Return LayerCAM of the first stages, each blurred and at most 1, multiplied."""
        import torch

        features: list[Tensor] = []

        def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
            features.append(output if output.requires_grad else output.requires_grad_())

        network = self._network
        hooks = [stage[-1].register_forward_hook(keep) for stage in network.stages[:STAGES]]
        logits_NA = network(images_NCHW)
        for hook in hooks:
            hook.remove()
        maps = []
        for column in columns:
            wanted = logits_NA[:, column].sum()
            gradients = torch.autograd.grad(wanted, features, retain_graph=True)
            product_NHW = np.ones((len(images_NCHW), *CROP_SIZE), np.float32)
            for feature, gradient in zip(features, gradients, strict=True):
                stage = (feature * gradient.clamp(min=0.0)).sum(dim=1, keepdim=True)
                product_NHW *= _smooth(self._enlarged(stage, images_NCHW.shape[2:])[:, 0])
            maps.append(product_NHW)
        return np.stack(maps, axis=1)

    def _of_pixels(self, images_NCHW: Tensor, columns: list[int]) -> Tensor:
        """Return each pixel times its gradient."""
        import torch

        images_NCHW.requires_grad_()
        logits_NA = self._network(images_NCHW)
        maps = []
        for column in columns:
            wanted = logits_NA[:, column].sum()
            (gradient,) = torch.autograd.grad(wanted, images_NCHW, retain_graph=True)
            maps.append((images_NCHW * gradient).sum(dim=1))
        return torch.stack(maps, dim=1).detach()

    def _enlarged(self, maps_NKHW: Tensor, image_size: Sequence[int]) -> NDArray[np.float32]:
        """Enlarge maps to the pixels of the crop, linearly."""
        import torch
        from torch.nn import functional

        at = []
        for places, side, frame in zip(maps_NKHW.shape[2:], image_size, CROP_SIZE, strict=True):
            stride = 2 ** round(math.log2(side / places))  # a side is perhaps no multiple of it
            first = 0.0 if self._network.at_corner else (stride - 1) / 2
            pixels = (torch.arange(frame) + 0.5) * side / frame - 0.5
            at.append((pixels - first) / stride / max(places - 1, 1) * 2 - 1)
        y_HW, x_HW = torch.meshgrid(*at, indexing="ij")
        grid_NHW2 = torch.stack((x_HW, y_HW), dim=-1).expand(len(maps_NKHW), -1, -1, -1)
        large = functional.grid_sample(
            maps_NKHW.float(), grid_NHW2, padding_mode="border", align_corners=True
        )
        return np.asarray(large.detach())


def _smooth(maps_NHW: NDArray[np.float32]) -> NDArray[np.float32]:
    """Blur and scale to at most 1, so that products of small maps do not underflow in float32."""
    import cv2

    smooth_NHW = np.stack([cv2.GaussianBlur(map_HW, (0, 0), BLUR) for map_HW in maps_NHW])
    highest = smooth_NHW.max(axis=(1, 2), keepdims=True)
    return np.asarray(smooth_NHW / np.maximum(highest, np.finfo(np.float32).tiny))


def heat(map_HW: NDArray[np.float32], probability: float) -> NDArray[np.float32]:
    """Scale a map to 0..1 for display: its highest point is the attribute's probability.

    So the map of an absent attribute is hardly seen, although every map has a highest point.
    """
    seen_HW = np.clip(map_HW, 0.0, None)
    return seen_HW * np.float32(probability / max(float(seen_HW.max()), 1e-9))


def overlay(image: Image.Image, heat_HW: NDArray[np.float32]) -> Image.Image:
    """Draw heat, 0 to 1 in each pixel, over a photo, which shows unchanged where there is none.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with needs("train"), headless():
        from matplotlib import colormaps
    colours = (colormaps[COLOURS](heat_HW)[:, :, :3] * 255.0).astype(np.uint8)
    mask = Image.fromarray((heat_HW * (255.0 * OPACITY)).astype(np.uint8))
    return Image.composite(Image.fromarray(colours), image.convert("RGB"), mask)


def name_of(annotated: Path, attribute: str) -> Path:
    """Return the file of an attribute's map, beside the annotated picture: `x.Smiling.jpg`."""
    stem = annotated.stem.removesuffix(".annotated")
    return annotated.with_name(f"{stem}.{attribute}{annotated.suffix}")
