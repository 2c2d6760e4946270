"""Bodies from outside: SMPL's files, smplx models."""
