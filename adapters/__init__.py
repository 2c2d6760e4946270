"""Everything that touches the outside: files, command line, other libraries. Imports from ``engine``, never back."""

PART_OF = "samebody"
"""Tells this package from another one of the same name (``samebody`` checks it)."""
