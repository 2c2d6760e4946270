"""Shape evidence: the information of pictures about a body, fused, compared and calibrated."""
