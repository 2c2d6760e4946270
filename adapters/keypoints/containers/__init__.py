"""The formats that files come in, read within bounds: one way for each, whatever the files hold.

    parquet    Parquet in batches      tables    result tables of any format      text    JSON and CSV texts
    arrays     .npz: ``engine.body.files.arrays``

Each reader is told which exception to raise, and raises it, with the name of the file, for everything that goes wrong
in the libraries below it: damaged bytes make every one of them stumble in its own way.
"""
