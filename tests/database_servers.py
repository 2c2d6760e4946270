"""Databases for tests: an SQLite file, and a PostgreSQL server of the test run's own.

The server is started from Debian's package, in a temporary folder, reachable through a socket in it and nothing else.
PostgreSQL refuses to run as root; there it runs as the user that the package made. Where there is no PostgreSQL, those
tests are skipped and say so.

    from tests.database_servers import database_url, postgresql  # noqa: F401
"""

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

_START_S = 60
_numbers = itertools.count()


def _program(name: str) -> str | None:
    packaged = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(packaged[-1]) if packaged else shutil.which(name)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a running server, without the name of a database: ``{url}`` has a place for it."""
    initdb, server = _program("initdb"), _program("postgres")
    if initdb is None or server is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    user = None
    if os.geteuid() == 0:
        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres: apt-get install postgresql")
    # Names of sockets are short: pytest's own folders can be too deep.
    with tempfile.TemporaryDirectory(prefix="samebody-pg-", ignore_cleanup_errors=True) as folder:
        as_user = {}
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
            as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        data = f"{folder}/data"
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}
        subprocess.run(
            [initdb, "-D", data, "-U", "samebody", "-A", "trust", "-E", "UTF8", "--no-sync"],
            check=True, capture_output=True, cwd=folder, env=environment, **as_user,
        )  # fmt: skip
        settings = ("listen_addresses=", "fsync=off", "max_connections=60", f"unix_socket_directories={folder}")
        options = [part for setting in settings for part in ("-c", setting)]
        with (
            open(f"{folder}/log", "w") as log,
            subprocess.Popen(
                [server, "-D", data, *options], stdout=log, stderr=log, cwd=folder, env=environment, **as_user
            ) as process,
        ):
            try:
                url = f"postgresql://samebody@/{{}}?host={folder}"
                _wait_for(url.format("postgres"), process, Path(folder, "log"))
                yield url
            finally:
                process.terminate()
                process.wait(30)


def _wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + _START_S
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    while True:
        try:
            with engine.connect():
                break
        except Exception:
            if process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"PostgreSQL did not start:\n{log.read_text()}")
            time.sleep(0.1)
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of its own for one test, on each of the two."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'host.db'}"
        return
    url: str = request.getfixturevalue("postgresql")
    name = f"test_{next(_numbers)}"
    admin = create_engine(
        url.format("postgres").replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT"
    )
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield url.format(name)
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()
