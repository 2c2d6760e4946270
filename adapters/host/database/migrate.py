"""Alembic revisions that add samebody's columns and tables to an existing database, and remove them.

    upgrade(engine)                 adds three columns to reference_images and makes body_scores
    downgrade(engine)               removes them; rows of the host stay

samebody's revisions have their own version table, ``samebody_alembic_version``, and do not interfere with the host's. A
host with its own revisions copies the two steps into one of them instead (docs/host-guide.md).
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine

VERSION_TABLE = "samebody_alembic_version"
_SCRIPTS = Path(__file__).parent / "migrations"


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Upgrade to a revision: on PostgreSQL completely or not at all, on SQLite step by step."""
    with engine.begin() as connection:
        command.upgrade(_config(connection), revision)


def downgrade(engine: Engine, revision: str = "base") -> None:
    """Downgrade to a revision. Values in removed columns are lost; the rows stay."""
    with engine.begin() as connection:
        command.downgrade(_config(connection), revision)


def stamp(engine: Engine, revision: str = "head") -> None:
    """Record that the tables are at a revision, without changing them."""
    with engine.begin() as connection:
        command.stamp(_config(connection), revision)


def _config(connection: object) -> Config:
    config = Config()
    # Alembic interpolates its options, so a per cent sign in a path must be doubled.
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
