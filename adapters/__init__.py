"""Everything that touches the outside: files, command line, other libraries. Imports from ``engine``, never back."""
