"""Where in a face a network sees an attribute: one heat map an attribute.

Exact where the network allows it: a logit that is linear in pooled features is a sum over places
(class activation maps; B. Zhou et al., "Learning Deep Features for Discriminative Localization",
CVPR 2016), a U-Net has a map an attribute, and the logit of a linear model is a sum over pixels.
Elsewhere Grad-CAM (R. Selvaraju et al., ICCV 2017), by captum.

A ResNet is looked at through its finest feature map: its filters are applied at the places between
those of the map that it was trained with, too. At those it shows exactly what it did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from celebattr import bundle, paths
from celebattr.config.fields import FRAME_SIZE
from celebattr.data.images import to_frame
from celebattr.data.transforms import PreprocessSpec
from celebattr.errors import MissingExtraError, UsageError
from celebattr.faces.alignment import inverse, warp
from celebattr.models import catalog
from celebattr.results.predictions import Prediction

if TYPE_CHECKING:
    from torch import Tensor


class Explainer:
    """A safetensors bundle that shows where it looks, in torch on the CPU.

    Args:
        weights: a bundle, as `celebattr.paths.bundle_file` takes it; None is the shipped one.

    Raises:
        WeightsError: the bundle is missing, damaged, or ONNX.
        MissingExtraError: torch is not installed, or captum, which the network's maps need.
    """

    def __init__(self, weights: str | None) -> None:
        try:
            import torch  # noqa: F401
        except ModuleNotFoundError as error:
            raise MissingExtraError("torch", "train") from error
        from celebattr.data.preprocess import Preprocess
        from celebattr.models.unet import MapHead

        path = paths.bundle_file(weights, gpu=True)
        self.card, network = bundle.load(path)
        finest = min(catalog.row(self.card.arch).output_strides)
        if finest < network.spec.output_stride:
            fine = catalog.build(replace(network.spec, output_stride=finest)).eval()
            fine.load_state_dict(network.state_dict())
            network = fine
        self._network = network
        exact = isinstance(network.head, MapHead) or (network.pooled and not network.spec.head)
        # Asked for before any work is done: none is lost for want of it.
        self._captum: Any = None if exact else _captum()
        self._preprocess = Preprocess(PreprocessSpec.from_dict(self.card.preprocess))

    def maps(
        self, frames_NHWC: NDArray[np.uint8], attributes: Sequence[str]
    ) -> NDArray[np.float32]:
        """How much each place speaks for an attribute, in the units of its logit.

        Args:
            frames_NHWC: uint8 [N, 218, 178, 3].
            attributes: K names of the bundle's attributes.

        Returns:
            float32 [N, K, 218, 178].

        Raises:
            UsageError: the bundle has no such attribute.
        """
        import torch

        unknown = [name for name in attributes if name not in self.card.attributes]
        if unknown:
            raise UsageError(f"{self.card.name} has no attribute {', '.join(unknown)}")
        columns = [self.card.attributes.index(name) for name in attributes]
        images = self._preprocess(torch.tensor(frames_NHWC))
        maps_NKHW = self._maps(images, columns)
        result: NDArray[np.float32] = self._enlarged(maps_NKHW, images.shape[2:]).numpy()
        return result

    def on_photo(
        self, image_HWC: NDArray[np.uint8], face: Prediction, attributes: Sequence[str]
    ) -> NDArray[np.float32]:
        """The maps of a face in the pixels of its photo, in full, as it is upright.

        Returns:
            float32 [K, H, W]; 0 where the photo lies outside the face's frame.
        """
        import cv2

        height, width = image_HWC.shape[:2]
        if face.to_frame is None:
            frame = to_frame(Image.fromarray(image_HWC))
            back = np.array([[width / FRAME_SIZE[1], 0.0, 0.0], [0.0, height / FRAME_SIZE[0], 0.0]])
        else:
            transform = np.array(face.to_frame).reshape(2, 3)
            frame = warp(image_HWC, transform, *FRAME_SIZE)
            back = inverse(transform)
        maps_KHW = self.maps(frame[None], attributes)[0]
        placed = [cv2.warpAffine(heat_HW, back, (width, height)) for heat_HW in maps_KHW]
        return np.stack(placed)

    def _maps(self, images_NCHW: Tensor, columns: list[int]) -> Tensor:
        import torch
        from torch import nn

        from celebattr.models.unet import MapHead

        network = self._network
        if network.spatial is None:
            return self._of_pixels(images_NCHW, columns)
        if self._captum is not None:
            gradcam = self._captum.LayerGradCam(network, network.spatial)
            each = [gradcam.attribute(images_NCHW, target=c) for c in columns]
            return torch.cat(each, dim=1).detach()
        features: list[Tensor] = []
        hook = network.spatial.register_forward_hook(lambda *call: features.append(call[2]))
        with torch.no_grad():
            network(images_NCHW)
            hook.remove()
            if isinstance(network.head, MapHead):
                maps: Tensor = network.head.maps(features[0])[:, columns]
                return maps
            assert isinstance(network.head, nn.Sequential)
            last = network.head[-1]
            assert isinstance(last, nn.Linear)
            return torch.einsum("nchw,kc->nkhw", features[0], last.weight[columns])

    def _enlarged(self, maps_NKHW: Tensor, image_size: Sequence[int]) -> Tensor:
        """Maps in pixels of the frame, between their places linearly."""
        import torch
        from torch.nn import functional

        at = []
        for places, side, frame in zip(maps_NKHW.shape[2:], image_size, FRAME_SIZE, strict=True):
            # Padded filters of odd width and stride 2, as in a ResNet, lie on pixels 0, 2, 4; max
            # pooling, as in a CNN, between pixels 0 and 1, 2 and 3.
            stride = self._network.spec.output_stride if self._network.pooled else side / places
            first = 0.0 if self._network.pooled else (stride - 1) / 2
            pixels = (torch.arange(frame) + 0.5) * side / frame - 0.5
            at.append((pixels - first) / stride / max(places - 1, 1) * 2 - 1)
        y_HW, x_HW = torch.meshgrid(*at, indexing="ij")
        grid_NHW2 = torch.stack((x_HW, y_HW), dim=-1).expand(len(maps_NKHW), -1, -1, -1)
        return functional.grid_sample(
            maps_NKHW.float(), grid_NHW2, padding_mode="border", align_corners=True
        )

    def _of_pixels(self, images_NCHW: Tensor, columns: list[int]) -> Tensor:
        """Each pixel times its gradient: for a linear model, its summand of the logit."""
        import torch

        method = self._captum.InputXGradient(self._network)
        images_NCHW.requires_grad_()
        maps = [method.attribute(images_NCHW, target=c).sum(dim=1) for c in columns]
        return torch.stack(maps, dim=1).detach()


def _captum() -> Any:
    try:
        from captum import attr
    except ModuleNotFoundError as error:
        raise MissingExtraError("captum", "explain") from error
    return attr
