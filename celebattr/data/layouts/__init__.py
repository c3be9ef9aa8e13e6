"""The layouts in which labelled faces are met, a reader for each."""
