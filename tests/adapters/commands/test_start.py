"""Help loads neither the engine nor libraries for files; the constants that it shows are those of the engine."""

import json
import subprocess
import sys

import pytest

from adapters.bodies.smpl_files import GENDERS
from adapters.commands import choices
from adapters.commands.cli import samebody
from adapters.jobs.fit import PERSONS
from adapters.keypoints.detectors.choice import DETECTORS
from adapters.keypoints.readers.file_rules import MIN_SCORE
from adapters.results.vocabulary import MARKS
from engine.body.embedded import EMBEDDED_BODY
from engine.body.schemas import SCHEMAS
from engine.picture.clothes import CLOTHES
from engine.posed.scoring import EXCESS_THRESHOLD
from engine.rest.scores import REST_THRESHOLD
from tests.places import ROOT

HEAVY = ("jax", "numpy", "pyarrow", "scipy", "equinox", "sqlalchemy", "fastapi", "matplotlib")
_SCRIPT = """
import contextlib, io, json, sys
from adapters.commands.cli import main, samebody
with contextlib.redirect_stdout(io.StringIO()) as shown:
    status = main(["--help"])
loaded = {"samebody": sorted(set(sys.argv[1:]) & set(sys.modules))}
for name in samebody.list_commands(None):
    with contextlib.redirect_stdout(io.StringIO()):
        status = status or main([name, "--help"])
    loaded[name] = sorted(set(sys.argv[1:]) & set(sys.modules))
print(json.dumps([status, loaded]))
"""


def test_help_of_every_command_loads_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", _SCRIPT, *HEAVY], cwd=ROOT, capture_output=True, text=True, check=True)
    status, loaded = json.loads(done.stdout)
    assert status == 0
    assert len(loaded) == len(samebody.list_commands(None)) + 1  # type: ignore[arg-type]
    assert loaded == {name: [] for name in loaded}


@pytest.mark.parametrize(
    ("shown", "meant"),
    [
        (choices.EMBEDDED_BODY, EMBEDDED_BODY),
        (choices.SCHEMA_NAMES, tuple(SCHEMAS)),
        (choices.PERSONS, tuple(PERSONS)),
        (choices.DETECTORS, tuple(DETECTORS)),
        (choices.CLOTHES, CLOTHES),
        (choices.GENDERS, tuple(GENDERS)),
        (choices.MARKS, tuple(MARKS)),
        (choices.MIN_SCORE, MIN_SCORE),
        (choices.EXCESS_THRESHOLD, EXCESS_THRESHOLD),
        (choices.REST_THRESHOLD, REST_THRESHOLD),
    ],
)
def test_constants_of_help_are_those_of_the_engine(shown: object, meant: object) -> None:
    assert shown == meant
