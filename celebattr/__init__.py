"""celebattr tells which of CelebA's 40 face attributes a photo shows.

>>> import celebattr
>>> model = celebattr.load()
>>> (astronaut,) = model(celebattr.DEMO_PHOTO)
>>> "Smiling" in astronaut.present
True

See docs/python.md.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from celebattr.constants import VERSION

__version__ = VERSION

if TYPE_CHECKING:
    from celebattr.api import (
        calibrate,
        doctor,
        evaluate,
        export,
        load,
        merge,
        pack,
        score,
        train,
    )
    from celebattr.attributes import CELEBA as ATTRIBUTES
    from celebattr.constants import DEMO_PHOTO
    from celebattr.data.download import download
    from celebattr.errors import CelebattrError
    from celebattr.inference.crops import align
    from celebattr.inference.output.writers import to_frame
    from celebattr.inference.pool.worker import freeze_support
    from celebattr.model import Face, Model
    from celebattr.predictions import Failure

__all__ = [
    "ATTRIBUTES",
    "DEMO_PHOTO",
    "CelebattrError",
    "Face",
    "Failure",
    "Model",
    "align",
    "calibrate",
    "doctor",
    "download",
    "evaluate",
    "export",
    "freeze_support",
    "load",
    "merge",
    "pack",
    "score",
    "to_frame",
    "train",
]

_ELSEWHERE = {
    "ATTRIBUTES": ("celebattr.attributes", "CELEBA"),
    "DEMO_PHOTO": ("celebattr.constants", "DEMO_PHOTO"),
    "align": ("celebattr.inference.crops", "align"),
    "download": ("celebattr.data.download", "download"),
    "CelebattrError": ("celebattr.errors", "CelebattrError"),
    "Face": ("celebattr.model", "Face"),
    "Failure": ("celebattr.predictions", "Failure"),
    "Model": ("celebattr.model", "Model"),
    "freeze_support": ("celebattr.inference.pool.worker", "freeze_support"),
    "to_frame": ("celebattr.inference.output.writers", "to_frame"),
}


def __getattr__(name: str) -> Any:
    """Load a name when it is first used (PEP 562): `import celebattr` imports next to nothing."""
    if name not in __all__:
        raise AttributeError(f"module 'celebattr' has no attribute {name!r}")
    module, attribute = _ELSEWHERE.get(name, ("celebattr.api", name))
    value = globals()[name] = getattr(importlib.import_module(module), attribute)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
