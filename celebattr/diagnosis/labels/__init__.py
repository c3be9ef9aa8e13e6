"""Labels that are likely wrong: `celebattr doctor --labels`."""
