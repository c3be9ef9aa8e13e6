"""Pictures: boxes and attributes on a photo, and heat maps."""
