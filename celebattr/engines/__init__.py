"""Scoring past one machine: what to do, in parts, and who does it."""
