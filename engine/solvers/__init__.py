"""Solvers: first-order loops (optax), Levenberg-Marquardt, small linear systems."""
