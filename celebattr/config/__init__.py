"""What the commands can be asked for: frozen dataclasses that validate themselves.

The help of a field is the help of the command-line option that `celebattr.cli.options` derives
from it: names, types, defaults and texts stand here once.
"""

from celebattr.config.doctor import DoctorConfig
from celebattr.config.evaluate import EvaluateConfig
from celebattr.config.fields import CACHES, DEVICES, FRAME_SIZE, PRECISIONS, SPLITS, flag, option
from celebattr.config.pack import PackConfig
from celebattr.config.predict import FACES, PredictConfig
from celebattr.config.train import ACTIVATIONS, LOSSES, OPTIMIZERS, TrainConfig

__all__ = [
    "ACTIVATIONS",
    "CACHES",
    "DEVICES",
    "FACES",
    "FRAME_SIZE",
    "LOSSES",
    "OPTIMIZERS",
    "PRECISIONS",
    "SPLITS",
    "DoctorConfig",
    "EvaluateConfig",
    "PackConfig",
    "PredictConfig",
    "TrainConfig",
    "flag",
    "option",
]
