"""Results as HTML pages that stand alone: styles, script and pictures are inside."""
