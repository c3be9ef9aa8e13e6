"""What comes out: predictions and failures, and the figures of an evaluation."""

from celebattr.results.curves import AttributeCurves, ReliabilityBin, ThresholdRow
from celebattr.results.evaluation import (
    FEW,
    MEANS,
    AttributeReport,
    Comparison,
    CorruptionReport,
    Difference,
    EvalReport,
    Example,
    GapReport,
    LogicReport,
    PointingReport,
    PublishedReport,
    RuleReport,
    SliceReport,
)
from celebattr.results.predictions import FAILURES, SCHEMA, FaceBox, Failure, Prediction, Result

__all__ = [
    "FAILURES",
    "FEW",
    "MEANS",
    "SCHEMA",
    "AttributeCurves",
    "AttributeReport",
    "Comparison",
    "CorruptionReport",
    "Difference",
    "EvalReport",
    "Example",
    "FaceBox",
    "Failure",
    "GapReport",
    "LogicReport",
    "PointingReport",
    "Prediction",
    "PublishedReport",
    "ReliabilityBin",
    "Result",
    "RuleReport",
    "SliceReport",
    "ThresholdRow",
]
