"""Files, command line, databases and other libraries. Adapters import ``engine``; ``engine`` never imports adapters."""

PART_OF = "samebody"
"""Marks this package, because another one has the same name (``samebody`` checks the mark)."""
