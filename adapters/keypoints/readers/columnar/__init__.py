"""Files of columns: .npz, Parquet, CSV. ``columns`` has what they share."""
