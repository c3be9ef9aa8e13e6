"""Images and labels on disk become uint8 crops and 0/1 targets."""
