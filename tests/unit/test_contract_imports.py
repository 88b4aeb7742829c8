"""The contract stands on the standard library alone: it runs on a board that has nothing else."""

import ast
import pkgutil
import subprocess
import sys
from pathlib import Path

import reflexarc
import reflexarc.contract

FOLDER = Path(reflexarc.contract.__file__).parent
MODULES = [module.name for module in pkgutil.walk_packages([str(FOLDER)], "reflexarc.contract.")]


def test_every_module_can_be_imported_without_any_package():
    """-S leaves the installed packages out of the path, -E what the environment says."""
    host = str(Path(reflexarc.__file__).parents[1])
    code = f"""
import sys
sys.path.insert(0, {host!r})
for name in {MODULES!r}:
    __import__(name)
print(*sorted(name.split(".")[0] for name in sys.modules))
"""
    result = subprocess.run([sys.executable, "-S", "-E", "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert set(result.stdout.split()) <= set(sys.stdlib_module_names) | {"reflexarc", "__main__"}


def test_no_import_hides_in_a_function():
    assert len(MODULES) > 10
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path.name}: relative import"
                names = [node.module or ""]
            for name in names:
                top = name.split(".")[0]
                assert top in sys.stdlib_module_names or name.startswith("reflexarc.contract"), f"{path.name} imports {name}"
