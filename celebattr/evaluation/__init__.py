"""Metrics, calibration, and the evaluation of a bundle on a split."""
