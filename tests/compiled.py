"""A compile cache that test runs share: kept between runs, warmed once before workers start.

The folder is ``$SAMEBODY_TEST_CACHE``, or one of the user's cache folder, by version of jax; never the user's own cache
of samebody. JAX keys it by program, compiler and processor, so a stale entry is never used. A posed fit compiles for
most of a minute: two workers that begin with an empty cache would compile the same programs side by side.
"""

import hashlib
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import platformdirs

from tests.places import ROOT

FOLDER_VARIABLE = "SAMEBODY_TEST_CACHE"
_WARM = """
from adapters.jobs.fit import FitSettings, fit_references
from adapters.jobs.scorer import Scorer
from adapters.keypoints.readers import read_keypoints
from engine.body.embedded import load_embedded_body
from tests.places import DEMO
body, table = load_embedded_body(), read_keypoints([DEMO / "references.parquet"])
for settings in (FitSettings(mode="rest"), FitSettings(), FitSettings(solver="lm")):
    shape = fit_references(table, body, settings)
    Scorer(body, table.schema, shape)(table)
"""


def share_cache() -> Path:
    """Make JAX of this process and of its children use the shared folder; one that is configured already stays."""
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if folder is None:
        chosen = os.environ.get(FOLDER_VARIABLE) or platformdirs.user_cache_dir("samebody-tests")
        folder = str(Path(chosen) / f"jax-{metadata.version('jax')}")
        os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.5"
    # Imported before, JAX has read its environment already.
    if "jax" in sys.modules:
        import jax

        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    return Path(folder)


def warm(folder: Path) -> None:
    """Compile what most tests need, unless that was done for this state of the engine."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "engine").rglob("*.py")):
        digest.update(path.read_bytes())
    done = folder / f"warmed-{digest.hexdigest()[:16]}"
    if done.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    if subprocess.run([sys.executable, "-c", _WARM], cwd=ROOT, check=False).returncode == 0:
        for old in folder.glob("warmed-*"):
            old.unlink(missing_ok=True)
        done.touch()
