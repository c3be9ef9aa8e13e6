"""Expansion of predict's arguments to a stream of inputs."""
