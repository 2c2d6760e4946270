"""Bounded readers of file formats, one for each format, independent of the contents.

    parquet    Parquet in batches      tables    result tables of any format      text    JSON and CSV texts
    images     pictures, with Pillow   folders   the files below a folder         arrays  .npz: ``engine.body.files``

The caller passes each reader an exception type. The reader raises it, with the name of the file, for every error in the
libraries below, because damaged bytes raise different errors in each of them.
"""
