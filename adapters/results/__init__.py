"""Results: columns, files, report, figures."""
