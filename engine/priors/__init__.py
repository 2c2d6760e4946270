"""Fitted parameters that ship with samebody, read through ``importlib.resources``; credited in NOTICE."""
