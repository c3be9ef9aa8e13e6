"""Published results on CelebA's 40 attributes, each with a source that can be read.

All are accuracies averaged over attributes, on CelebA's official test split of 19,962 images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from celebattr.attributes import CELEBA


@dataclass(frozen=True)
class PublishedReport:
    """A published figure on the same attributes, measured on other images by other people.

    Attributes:
        year: None where the source does not tell it.
        mean_attribute_accuracy: theirs, a share, over `attributes` attributes.
        source: where it can be read.
        note: what differs from how ours was measured.
        by_attribute: the accuracy of each attribute, a share, where the source tells it.
    """

    method: str
    year: int | None
    mean_attribute_accuracy: float
    attributes: int
    source: str
    note: str
    by_attribute: dict[str, float] = field(default_factory=dict)


_APS_TABLE = "as the table of Chen et al. 2023, doi.org/10.1016/j.jvcir.2022.103745, gives it"

_EWRFCAS = "github.com/ewrfcas/face_attribute_classification_pytorch, its README"
_NIRVANALAN = "github.com/NIRVANALAN/face-attribute-prediction, its README"
_CODE = "published code, not a paper"

# Source: Table 1 of arXiv:1411.7766, the row LNets+ANet on CelebA; in CelebA's order.
_LNETS_ANET = (
    *(91, 79, 81, 79, 98, 95, 68, 78, 88, 95, 84, 80, 90, 91, 92, 99, 95, 97, 90, 87),
    *(98, 92, 95, 81, 95, 66, 91, 72, 89, 90, 96, 92, 73, 80, 82, 99, 93, 71, 93, 87),
)

PUBLISHED: tuple[PublishedReport, ...] = (
    PublishedReport(
        "LNets+ANet",
        2015,
        0.8730,
        40,
        "Liu et al., ICCV 2015, arXiv:1411.7766, Table 1",
        "finds faces in un-cropped photos by itself; each attribute in whole percent",
        dict(zip(CELEBA, (percent / 100 for percent in _LNETS_ANET), strict=True)),
    ),
    PublishedReport(
        "off-the-shelf CNN features",
        2016,
        0.8997,
        40,
        "Zhong, Sullivan, Li, arXiv:1602.03935",
        "features of networks for face recognition",
    ),
    PublishedReport("MCNN-AUX", 2017, 0.9129, 40, _APS_TABLE, "several attributes per branch"),
    PublishedReport("MCFA", 2018, 0.9123, 40, _APS_TABLE, "cascaded networks"),
    PublishedReport("ResNet50", None, 0.9048, 40, _EWRFCAS, _CODE),
    PublishedReport("ResNet50, adaptive weights", None, 0.9085, 40, _EWRFCAS, _CODE),
    PublishedReport("ResNet50, cross-entropy", None, 0.913, 40, _NIRVANALAN, _CODE),
    PublishedReport("DMM-CNN", 2020, 0.9170, 40, _APS_TABLE, "ResNet50; also finds landmarks"),
    PublishedReport("SSPL", 2021, 0.9168, 40, _APS_TABLE, "pre-trained on unlabelled faces"),
    PublishedReport(
        "FaRL",
        2022,
        0.9188,
        40,
        "Zheng et al., CVPR 2022, arXiv:2112.03109",
        "pre-trained on 20 million faces with captions",
    ),
    PublishedReport("VGG16", 2023, 0.9129, 40, _APS_TABLE, "the authors' plain baseline"),
    PublishedReport("APS", 2023, 0.9212, 40, _APS_TABLE, "VGG16 with attention"),
    PublishedReport(
        "facer farl/celeba/224",
        2023,
        0.9207,
        40,
        "github.com/FacePerceiver/facer, facer/face_attribute/farl.py",
        "FaRL as one can install it",
    ),
)
"""Figures whose source we have read, on splits that share no people."""


def published(attributes: Sequence[str]) -> tuple[PublishedReport, ...]:
    """Return the figures comparable to a bundle's: all, if it has just CelebA's attributes."""
    return PUBLISHED if set(attributes) == set(CELEBA) else ()
