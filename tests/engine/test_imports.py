"""The engine stays light: it must not pull in what only adapters may use."""

import subprocess
import sys


def test_engine_imports_nothing_heavy() -> None:
    script = (
        "import pkgutil, importlib, sys, engine\n"
        "for module in pkgutil.walk_packages(engine.__path__, 'engine.'): importlib.import_module(module.name)\n"
        "heavy = {'torch', 'smplx', 'mmpose', 'sqlalchemy', 'fastapi', 'pyarrow', 'click', 'rich', 'adapters'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
