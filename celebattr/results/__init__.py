"""What comes out: predictions and failures, and the figures of an evaluation."""
