"""Ways to minimise a problem: closed forms, first-order loops (optax), Levenberg-Marquardt."""
