"""Nothing: MMPose lists chumpy among its requirements and never imports it, and chumpy 0.70 cannot be built.

Its build imports pip, which build isolation leaves out, and the package itself needs a NumPy older than 1.24. SMPL
files with chumpy arrays are read by samebody's own restricted reader, which does not need it either.
"""

raise ImportError("chumpy is not installed: this is samebody's stand-in, made so that `pip install mmpose` works")
