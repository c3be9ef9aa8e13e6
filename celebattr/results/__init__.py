"""What comes out: predictions and failures, and the figures of an evaluation."""

from celebattr.results.evaluation import (
    MEANS,
    AttributeReport,
    EvalReport,
    PointingReport,
    SliceReport,
)
from celebattr.results.predictions import FAILURES, SCHEMA, FaceBox, Failure, Prediction, Result

__all__ = [
    "FAILURES",
    "MEANS",
    "SCHEMA",
    "AttributeReport",
    "EvalReport",
    "FaceBox",
    "Failure",
    "PointingReport",
    "Prediction",
    "Result",
    "SliceReport",
]
