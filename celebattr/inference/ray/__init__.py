"""Scoring on a Ray cluster: a plan, its parts, and the actors that make them."""
