"""Processes that open photos, and score them, with limits of time and memory."""
