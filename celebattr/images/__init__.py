"""One photo: from bytes to pixels, faces and aligned crops."""
