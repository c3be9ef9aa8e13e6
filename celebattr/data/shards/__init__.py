"""Data sets as tar shards: written by `celebattr pack`, read by offset."""
