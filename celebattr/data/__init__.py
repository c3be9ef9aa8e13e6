"""Images and labels on disk become uint8 frames and 0/1 targets."""
