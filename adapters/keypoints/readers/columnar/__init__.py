"""Files of columns: .npz, Parquet, CSV. ``columns`` has their common parts."""
