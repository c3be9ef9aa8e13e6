"""Checks of a data set: findings with remedies, where the readers raise errors."""
