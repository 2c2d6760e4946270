"""Amortised evidence: a network that gives the shape evidence of a picture without fitting it."""
