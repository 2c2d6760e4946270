"""Shape evidence: what pictures tell about a body, fused, compared and calibrated."""
