"""`python -m celebattr`."""

from __future__ import annotations

from celebattr.cli.app import main

if __name__ == "__main__":
    main()
