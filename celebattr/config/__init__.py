"""What the commands can be asked for: frozen dataclasses that validate themselves.

The help of a field is the help of the command-line option that `celebattr.cli.options` derives
from it: names, types, defaults and texts stand here once.
"""
