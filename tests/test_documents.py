"""Every code block of the README and of docs/ runs, or is named here with the reason why it does not.

A block runs in a copy of a folder in which the files that documents speak of exist: ``references/``, ``dataset/``,
``scores.parquet`` and so on, made from the demo's invented people. Lines that begin with ``samebody`` run through the
command line's own entry; the README's Python runs in a process of its own, as a newcomer's does. What wants a network,
a GPU, a cluster, licensed or large files, or a server that never ends is listed in ``PARSED``: its options must exist,
and nothing else is checked. Lines of other programs are listed in ``OTHER_PROGRAMS``. Whatever is in none of these
fails, and so does an entry that no document has any more.
"""

import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from adapters.commands.cli import main, samebody
from adapters.keypoints.readers import read_keypoints
from adapters.keypoints.table import concat_tables, slice_table
from adapters.keypoints.writers import write_keypoints
from engine.body.body_file import BodyProvenance, save_body
from engine.body.embedded import load_embedded_body
from tests.adapters.photographs import MAN
from tests.places import ROOT
from tests.smpl_samples import sample_model, write_pkl

DEMO = ROOT / "tests" / "data" / "five_people"
RECIPES = "keypoint-files.md"
"""Its blocks are run with the programs' own results by tests/adapters/keypoints/test_recipes.py."""
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(path for path in (ROOT / "docs").glob("*.md") if path.name != RECIPES),
]

WEIGHTS = "wants a checkpoint that is not shipped; tests/adapters/test_mmpose_detector.py runs the detector"
APPLY = "wants marks that the page saved; tests/adapters/jobs/test_apply_marks.py applies some"
MANY = "wants pictures of many people; tests/engine/evidence calibrates"
PARSED = {
    "samebody detect photos/ --detector mmpose --model rtmpose-m_8xb256-420e_coco-256x192 --weights rtmpose-m.pth "
    "--out k.parquet": WEIGHTS,
    "samebody detect photos/ --detector mmpose --device cuda --model CONFIG --weights CHECKPOINT --out "
    "keypoints.parquet": f"a GPU, and {WEIGHTS}",
    "samebody score /shared/dataset.parquet --shape shape.npz --out scores.parquet --ray auto --resume": (
        "wants a cluster; tests/adapters/jobs/test_ray_runner.py starts a local one"
    ),
    "samebody calibrate pictures/ --out calibration.json": MANY,
    "samebody score keypoints.parquet --shape shape.npz --calibrate-on-dataset --out scores.parquet": MANY,
    "samebody train-evidence --body my_body.npz --poses poses.npz": (
        "takes an hour; tests/adapters/jobs/test_train_evidence.py trains a small network"
    ),
    "samebody check references/ pictures/": "wants photographs of one person; tests/adapters/jobs/test_check.py checks",
    "samebody apply marks.csv --pictures pictures/ --move-to dropped/": APPLY,
    "samebody apply marks.csv --pictures pictures/ --move-to dropped/ --yes": APPLY,
    "samebody apply marks.csv --pictures pictures/ --copy-to kept/ --mark keep --yes": APPLY,
    "samebody apply marks.csv --pictures pictures/ --copy-to train/10_anna --mark keep --yes": APPLY,
    "samebody detect photos/ --detector mmpose --model CONFIG --weights CHECKPOINT --outlines --mask-model "
    "solov2-light_r50_fpn_ms-3x_coco --mask-weights MASKS --out keypoints.parquet": (
        "wants weights; tests/adapters/keypoints/detectors/test_outlines.py runs the model"
    ),
    "samebody doctor": "loads every detector that is installed; tests/adapters/test_cli.py runs it",
}
WEIGHT_FILES = ("CHECKPOINT", "MASKS", "rtmpose-m.pth")
INSTALL = "installs packages; .ci/run does it in a fresh environment"
CLUSTER = "starts and stops a cluster; tests/adapters/jobs/test_ray_runner.py starts a local one"
OTHER_PROGRAMS = {
    "python3 -m venv .venv && . .venv/bin/activate && pip install . && samebody demo": INSTALL,
    "python3 -m venv .venv && . .venv/bin/activate && pip install '.[dev]' && pytest": INSTALL,
    "python3 -m venv .venv && . .venv/bin/activate && pip install -e '.[dev]'": INSTALL,
    "python3 -m venv .venv && . .venv/bin/activate": INSTALL,
    "python3.11 -m venv .venv && . .venv/bin/activate && pip install '.[mmpose]'": INSTALL,
    "pip install '.[mediapipe,report]'": INSTALL,
    "pip install '.[mmpose]'": INSTALL,
    "pip install '.[api]'": INSTALL,
    "pip install '.[plot]'": INSTALL,
    "pip install '.[postgres]'": INSTALL,
    "pip install '.[ray]'": INSTALL,
    "pip install '.[report]'": INSTALL,
    "pip install torch==2.13.0 torchvision==0.28.0": INSTALL,
    "pytest -m 'not slow'": "these tests",
    "pytest && ruff check . && ruff format --check . && pyright": "these tests; .ci/run runs all four",
    "python -m benchmarks --quick": "minutes; benchmarks are run by hand",
    "pre-commit install": "changes the checkout",
    "ray start --head --port 6379": CLUSTER,
    "ray start --address HEAD:6379": CLUSTER,
    "ray stop": CLUSTER,
    "rembg p -om pictures/ masks/": "another program; tests/adapters/keypoints/outlines reads such masks",
}
REPLACED = "the host's code as it was before, with names of the host's own; tests/test_host_app.py compiles it"
NOT_RUN = {
    ("host-guide.md", "class ReferenceImage(Base):"): REPLACED,
    ("host-guide.md", "class BodyAnalyzer:"): REPLACED,
    ("host-guide.md", '@app.post("/characters/{name}/references")'): REPLACED,
    ("host-guide.md", "def process_dataset(character_id, image_paths):"): REPLACED,
    ("outlines.md", "import numpy as np"): (
        "wants weights of another program; tests/adapters/keypoints/outlines reads such masks"
    ),
    ("host-guide.md", "def limit_rate(user: Annotated[User, Depends(require_user)]) -> None:"): (
        "wants an application's users; tests/adapters/host/test_serving.py limits a rate"
    ),
}
"""Python blocks, by document and first line."""

KEYPOINTS = """
from adapters.keypoints.readers import read_keypoints
table = read_keypoints(["samebody-demo/references.parquet"])
"""
BEFORE = {
    ("report.md", "import csv"): """
import pathlib
pathlib.Path("marks.csv").write_text("image,instance,mark\\nanna_07.jpg,0,keep\\nboris_06.jpg,0,drop\\n")
""",
    # FiftyOne brings a database; what the recipe gives it is looked at.
    ("report.md", "import fiftyone as fo"): """
import sys, types
from PIL import Image
import samebody as sb
sb.check("references.parquet", "keypoints.parquet", out="samebody-check")
for name in sb.read_keypoints("keypoints.parquet").image.to_pylist():
    Image.new("RGB", (4000, 4000)).save(f"pictures/{name}")
class Given:
    def __init__(self, name=None, **fields):
        self.__dict__.update(fields)
    def add_samples(self, samples):
        given.extend(samples)
given = []
kinds = ("Keypoints", "Keypoint", "Sample", "Dataset")
sys.modules["fiftyone"] = types.SimpleNamespace(**dict.fromkeys(kinds, Given))
""",
    ("host-guide.md", "def upgrade() -> None:"): """
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
connection = sa.create_engine("sqlite://").connect()
connection.execute(sa.text("CREATE TABLE reference_images (id INTEGER PRIMARY KEY)"))
connection.execute(sa.text("INSERT INTO reference_images VALUES (1)"))
op = Operations(MigrationContext.configure(connection))
""",
    ("host-guide.md", "from adapters.smpl_optimizer import compute_fitting_consistency, optimize_shared_beta"): (
        KEYPOINTS
        + """
from engine.body.embedded import load_embedded_body
smpl_model = load_embedded_body()
keypoints, confidence = table.keypoints[0], table.confidence[0]
"""
    ),
    ("host-guide.md", "from adapters.host.api import make_router"): """
from fastapi import FastAPI
from sqlalchemy.orm import sessionmaker
from adapters.host.database import HostDatabase, create_tables, open_database
from engine.body.embedded import load_embedded_body
engine = open_database("sqlite:///host.db")
create_tables(engine)
host_database, smpl_model, app = HostDatabase(sessionmaker(engine)), load_embedded_body(), FastAPI()
def require_user(): pass
""",
    ("scaling-out.md", "from adapters.results.evidence_table import read_evidence"): """
import numpy as np
from engine.evidence.shape_evidence import Evidence
from engine.shape import Shape
people = Evidence(*(np.asarray(part)[None] for part in Shape.load("shape.npz").evidence))
""",
}
"""What a Python block takes for granted, by document and first line: names that its text introduces."""
AFTER = {
    ("report.md", "import fiftyone as fo"): """
assert sorted(sample.rank for sample in given) == [1, 2, 3], [sample.rank for sample in given]
for sample in given:
    (points,) = (np.array(one.points) for one in sample.people.keypoints)
    assert points.shape[1] == 2 and np.nanmin(points) >= 0 and np.nanmax(points) <= 1 and np.isfinite(sample.evidence)
""",
    ("report.md", "import csv"): """
assert pathlib.Path("pictures/metadata.csv").read_text().split() == ["file_name,mark", "anna_07.jpg,keep"]
""",
    ("host-guide.md", "def upgrade() -> None:"): """
upgrade()
assert connection.execute(sa.text("SELECT optimized_beta_blob FROM reference_images")).all() == [(None,)]
downgrade()
assert connection.execute(sa.text("SELECT * FROM reference_images")).all() == [(1,)]
""",
    ("host-guide.md", "from adapters.smpl_optimizer import compute_fitting_consistency, optimize_shared_beta"): """
assert beta.shape == (10,) and consistency > 0.9, consistency
""",
    ("host-guide.md", "import numpy as np"): """
from adapters.host.inputs import keypoint_table
from adapters.keypoints.readers import read_keypoints
table = read_keypoints(["samebody-demo/references.parquet"])
mask = np.ones((np.ceil(table.keypoints[0].max(axis=0)) + 400).astype(int)[::-1], bool)
given = with_outline({"keypoints": table.keypoints[0], "confidence": table.confidence[0]}, mask)
assert keypoint_table(["a.jpg"], [given]).outlined == 1
""",
    ("scaling-out.md", "from adapters.results.evidence_table import read_evidence"): """
assert len(matches.best) > 0
""",
}
"""What must be true after it."""


@dataclass(frozen=True)
class Block:
    document: str
    line: int
    kind: str
    """What stands behind the fence: nothing, ``bash``, ``python`` or ``python title=FILE``."""
    text: str

    @property
    def key(self) -> tuple[str, str]:
        return self.document, self.text.splitlines()[0]

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def blocks_of(path: Path) -> list[Block]:
    """Every fenced block.

    Raises:
        AssertionError: a fence is not closed.
    """
    text = path.read_text()
    fences = list(re.finditer(r"^ *```(.*)\n", text, flags=re.MULTILINE))
    assert len(fences) % 2 == 0, f"{path.name}: a code block is not closed"
    return [
        Block(path.name, text.count("\n", 0, begin.start()) + 1, begin[1].strip(), text[begin.end() : end.start()])
        for begin, end in zip(fences[::2], fences[1::2], strict=True)
    ]


def command_lines(block: Block) -> list[str]:
    """Commands without their comments; lines that go on are joined."""
    lines = block.text.replace("\\\n", " ").splitlines()
    commands = [re.sub(r"\s+#\s.*$", "", line).strip() for line in lines]
    return [re.sub(r"\s+", " ", command) for command in commands if command and not command.startswith("#")]


BLOCKS = [block for path in DOCUMENTS for block in blocks_of(path)]
PYTHON = [block for block in BLOCKS if block.kind == "python" and block.key not in NOT_RUN]
SHELL = [block for block in BLOCKS if block.kind in ("", "bash")]


def is_run(command: str) -> bool:
    return command.startswith("samebody ") and command not in PARSED


def check_options(command: str) -> None:
    """Whether the command line takes this, without running it.

    Raises:
        click.ClickException: it does not.
    """
    program, *arguments = shlex.split(command)
    assert program == "samebody"
    group: click.Command = samebody
    context = click.Context(samebody, info_name="samebody")
    while isinstance(group, click.Group):
        name, group, arguments = group.resolve_command(context, arguments)
        assert group is not None
        if not isinstance(group, click.Group):
            group.make_context(name, arguments, parent=context)


def invented_photograph(path: Path) -> None:
    """With nobody in it."""
    Image.new("RGB", (96, 128), (120, 130, 140)).save(path)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that documents speak of. Fits once; blocks get copies."""
    folder = tmp_path_factory.mktemp("documents")
    references, dataset = (read_keypoints([DEMO / f"{name}.parquet"]) for name in ("references", "dataset"))
    few = slice_table(references, 0, 3)
    rows = np.flatnonzero([name in ("anna_06.jpg", "anna_07.jpg", "chen_18.jpg") for name in dataset.image.to_pylist()])
    for name in ("references", "dataset", "labelled", "pictures", "photos", "models/smpl", "samebody-demo"):
        (folder / name).mkdir(parents=True)
    parts = [slice_table(dataset, int(row), int(row) + 1) for row in rows]
    for number, part in enumerate(parts):
        write_keypoints(folder / "dataset" / f"{number}.json", part)
    write_keypoints(folder / "references" / "keypoints.json", few)
    labelled = slice_table(dataset, 0, 36)
    write_keypoints(folder / "labelled" / "keypoints.json", labelled)
    names = [f"{image},{image.split('_')[0]}" for image in labelled.image.to_pylist()]
    (folder / "labels.csv").write_text("image,person\n" + "\n".join(names) + "\n")
    write_keypoints(folder / "references.parquet", few)
    write_keypoints(folder / "samebody-demo" / "references.parquet", few)
    for name in ("keypoints.parquet", "dataset.parquet", "samebody-demo/dataset.parquet"):
        write_keypoints(folder / name, concat_tables(dataset.schema, parts))
    for name in ("references", "photos"):
        shutil.copy(MAN, folder / name / "man.jpg")
    invented_photograph(folder / "pictures" / "anna_07.jpg")
    (folder / "masks").mkdir()
    for part in parts:
        # A box around the person, which is not a body but a mask.
        points = part.keypoints[0][part.confidence[0] > 0].astype(int)
        mask = np.zeros(points.max(axis=0)[::-1] + 50, np.uint8)
        (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
        mask[top:bottom, left:right] = 255
        Image.fromarray(mask).save(folder / "masks" / f"{Path(part.image[0].as_py()).stem}.png")
    invented_photograph(folder / "photos" / "nobody.png")
    # Without pose blendshapes, which would be a problem of its own to compile.
    smpl = sample_model()
    write_pkl(folder / "models" / "smpl" / "SMPL_NEUTRAL.pkl", {**smpl, "posedirs": np.zeros_like(smpl["posedirs"])})
    save_body(folder / "my_body.npz", load_embedded_body(), BodyProvenance("My body", "a script", "mine"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run(
            "samebody export-body smplx --model-path models/smpl --gender neutral --out smpl_neutral.npz",
            "samebody fit references.parquet --out shape.npz",
            "samebody score keypoints.parquet --shape shape.npz --out scores.parquet --keep-evidence evidence.parquet",
        )
    for name in ("anna.npz", "boris.npz", "samebody-demo/shape.npz"):
        shutil.copy(folder / "shape.npz", folder / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder / "samebody-demo")
        run("samebody score dataset.parquet --shape shape.npz --out scores.parquet")
    return folder


def run(*commands: str) -> None:
    for command in commands:
        assert main(shlex.split(command)[1:]) == 0, command


@pytest.fixture
def folder(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy, as the working folder."""
    copy = tmp_path / "copy"
    shutil.copytree(prepared, copy)
    monkeypatch.chdir(copy)
    return copy


def test_no_block_is_left_out() -> None:
    for block in BLOCKS:
        assert block.kind in ("", "bash", "python", "text") or block.kind.startswith("python title="), (
            f"{block}: {block.kind}"
        )
        if block.kind in ("", "bash"):
            for command in command_lines(block):
                known = command.startswith("samebody ") or command in OTHER_PROGRAMS
                assert known, f"{block}: {command!r} is run by no test; name it in OTHER_PROGRAMS with a reason"
    # Blocks with a title are files of the small host, which tests/test_host_app.py runs.
    titled = {block.document for block in BLOCKS if block.kind.startswith("python title=")}
    assert titled == {"host-guide.md"}


def test_no_exception_outlives_its_block() -> None:
    commands = {command for block in SHELL for command in command_lines(block)}
    assert set(PARSED) | set(OTHER_PROGRAMS) <= commands
    keys = {block.key for block in BLOCKS}
    assert set(NOT_RUN) | set(BEFORE) | set(AFTER) <= keys


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that the command line wants to see while it reads its options."""
    for name in WEIGHT_FILES:
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("weights")
def test_options_exist_of_every_command_that_is_shown() -> None:
    for block in SHELL:
        for command in command_lines(block):
            if command.startswith("samebody "):
                check_options(command)


@pytest.mark.usefixtures("weights")
def test_examples_of_the_help_exist() -> None:
    def every(command: click.Command) -> list[str]:
        found = list(getattr(command, "examples", []))
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                found += every(command.get_command(context, name))  # type: ignore[arg-type]
        return found

    examples = every(samebody)
    assert len(examples) > 20
    for example in examples:
        check_options(re.sub(r"^[A-Z_]+=\S+ ", "", example))


@pytest.mark.slow
@pytest.mark.parametrize("block", [b for b in SHELL if any(map(is_run, command_lines(b)))], ids=str)
def test_commands_run(block: Block, folder: Path) -> None:
    for command in command_lines(block):
        if is_run(command):
            assert main(shlex.split(command)[1:]) == 0, f"{block}: {command}"


@pytest.mark.slow
@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_runs(block: Block, folder: Path) -> None:
    script = BEFORE.get(block.key, "") + block.text + AFTER.get(block.key, "")
    if block.document != "README.md":
        # In this process, which has compiled most of it.
        exec(compile(script, str(block), "exec"), {"__name__": "document"})
        return
    command = [sys.executable, "-W", "error", "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, check=False, encoding="utf-8")
    assert result.returncode == 0, f"{block}:\n{result.stderr}"
    assert result.stdout.startswith("Scores of")


def test_the_readme_s_python_is_short_and_the_commands_at_its_top_are_those_of_ci() -> None:
    readme = [block for block in BLOCKS if block.document == "README.md"]
    (python,) = [block for block in readme if block.kind == "python"]
    assert len(python.text.strip().splitlines()) <= 6
    first, second = readme[:2]
    assert [first.kind, second.kind] == ["bash", "bash"]
    script = [sys.executable, ROOT / ".ci" / "readme_command.py", ROOT / "README.md", "2"]
    told = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    assert told == second.text
    assert "pytest" in told


@pytest.mark.slow
def test_scores_of_the_prepared_folder_are_scores(prepared: Path) -> None:
    """The copies that blocks run in hold what documents say."""
    assert set(pq.read_table(prepared / "scores.parquet")["status"].to_pylist()) <= {"ok", "low_information"}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_module_names_lead_somewhere(path: Path) -> None:
    text = path.read_text()
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in target:
            assert (path.parent / target).exists(), target
    for name in re.findall(r"`((?:engine|adapters|benchmarks|tests|docs)/[\w/.*-]+)`", text):
        assert list(ROOT.glob(name.rstrip("/"))), name


def test_every_document_is_in_the_index_of_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    for path in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{path.name})" in text, path.name
