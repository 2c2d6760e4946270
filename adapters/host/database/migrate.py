"""The columns and tables of samebody on a database that exists already, by Alembic revisions that go up and down.

    upgrade(engine)                 reference_images gets its three columns, body_scores is made
    downgrade(engine)               and back; rows of the host stay

Revisions of samebody's are counted in a table of their own, ``samebody_alembic_version``, and do not meet the host's. A
host with revisions of its own copies the two steps into one of them instead (docs/host-guide.md).
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine

VERSION_TABLE = "samebody_alembic_version"
_SCRIPTS = Path(__file__).parent / "migrations"


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Up to a revision: on PostgreSQL the whole way or not at all, on SQLite step by step."""
    with engine.begin() as connection:
        command.upgrade(_config(connection), revision)


def downgrade(engine: Engine, revision: str = "base") -> None:
    """Down to a revision; what was stored in the columns that go is lost, the rows stay."""
    with engine.begin() as connection:
        command.downgrade(_config(connection), revision)


def stamp(engine: Engine, revision: str = "head") -> None:
    """Say that the tables are those of a revision, without touching them."""
    with engine.begin() as connection:
        command.stamp(_config(connection), revision)


def _config(connection: object) -> Config:
    config = Config()
    # Alembic's options are interpolated: a per cent sign in a path must be doubled.
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
