"""Jobs: fit, score, calibrate, cluster, detect; local, interrupted and resumed, on a cluster."""
