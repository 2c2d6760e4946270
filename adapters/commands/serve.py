"""``samebody serve``: the HTTP interface on this machine, for tests."""

import importlib.util
import os
import secrets
import socket
from pathlib import Path

import click

from adapters.commands import options
from adapters.commands.help_text import Command
from engine.scores import Mode

_HOST = "127.0.0.1"
_NEEDED = ("fastapi", "fastapi_offline", "uvicorn", "sqlalchemy", "alembic")
TOKEN_VARIABLE = "SAMEBODY_TOKEN"


@click.command(
    cls=Command,
    examples="""
    samebody serve
    SAMEBODY_TOKEN=secret samebody serve --port 9000 --database team.db
    """,
)
@click.option(
    "--database",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("samebody.db"),
    show_default=True,
    help="SQLite file; it is made if it does not exist.",
)
@click.option("--port", type=click.IntRange(1, 65535), default=8765, show_default=True)
@click.option("--pose", type=click.Choice(["free", "rest"]), default="free", show_default=True, help=options.FREE_HELP)
@options.body
def serve(database: Path, port: int, pose: Mode, body: str) -> None:
    """Serve on 127.0.0.1 only. /docs describes the interface.

    Clients send `Authorization: Bearer TOKEN`. The token comes from the environment variable SAMEBODY_TOKEN, or is a
    new one that is shown at the start. To serve others, include the router in your application: docs/host-guide.md.
    """
    from adapters.bodies.find import find_body
    from adapters.jobs.compile_cache import enable_compile_cache

    missing = [name for name in _NEEDED if not importlib.util.find_spec(name)]
    if missing:
        raise click.ClickException(f"{', '.join(missing)} not installed; run: pip install 'samebody[api]'")
    import gc

    import uvicorn
    from sqlalchemy import URL
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.orm import sessionmaker

    from adapters.host.api.serving import settings
    from adapters.host.api.standalone import make_app
    from adapters.host.database import HostDatabase, create_tables, open_database

    if not database.resolve().parent.is_dir():
        raise click.ClickException(f"there is no folder {database.parent} for the database; make it first")
    enable_compile_cache()
    sql = open_database(URL.create("sqlite", database=str(database)))
    try:
        create_tables(sql)
    except DBAPIError as error:
        sql.dispose()
        raise click.ClickException(f"{database}: {error.orig}; give another --database") from error
    given = os.environ.get(TOKEN_VARIABLE)
    token = given or secrets.token_urlsafe(16)
    app = make_app(HostDatabase(sessionmaker(sql)), find_body(body), token, pose)
    try:
        listening = socket.create_server((_HOST, port))
    except OSError as error:
        sql.dispose()
        raise click.ClickException(f"port {port}: {error.strerror}; give another --port") from error
    if not given:
        click.echo(f"token: {token}", err=True)
    click.echo(f"http://{_HOST}:{port}/docs", err=True)
    # Hundreds of thousands of objects live until the end. Scanning them in every full garbage collection would delay
    # all answers by a third of a second.
    gc.collect()
    gc.freeze()
    with listening:
        uvicorn.Server(settings(app, _HOST, port)).run([listening])
