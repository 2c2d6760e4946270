"""Data that comes with samebody: the embedded body and the pose prior."""
