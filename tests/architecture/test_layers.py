import ast
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("schemas", "edge", "workers")
SOURCES = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
HEAVY = ("celery", "kombu", "redis", "sqlalchemy", "alembic", "fastapi", "uvicorn", "workers")
LONGEST_FILE = 300
LONGEST_FUNCTION = 60
VAGUE = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"}


def loaded_by(line: str) -> set[str]:
    """The top-level modules that a Python process has loaded after this line."""
    code = f"{line}\nimport sys\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    result = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, cwd="/"
    )
    return set(result.stdout.split())


def test_the_device_loads_nothing_of_a_server() -> None:
    everything = "; ".join(
        f"import {'.'.join(file.relative_to(ROOT).with_suffix('').parts)}"
        for file in (ROOT / "edge").rglob("*.py")
        if file.stem not in {"__init__", "__main__"}
    )
    assert not loaded_by(everything) & set(HEAVY)


def test_the_command_line_of_a_server_loads_no_library_of_one_part() -> None:
    heavy = {"celery", "sqlalchemy", "fastapi", "uvicorn", "aiortc", "av", "numpy", "pocketsphinx"}
    assert not loaded_by("import workers.main") & heavy


def test_the_import_contracts_hold() -> None:
    result = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_file_is_short_and_its_name_says_something(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= LONGEST_FILE
    assert not {file.stem, *file.relative_to(ROOT).parent.parts} & VAGUE


def functions(file: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(file.read_text())
    return [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body: a command's options are declared in its signature."""
    first = function.body[0].lineno
    return (function.end_lineno or first) - first + 1


def test_functions_are_short() -> None:
    lengths = {
        f"{file.relative_to(ROOT)}:{function.name}": length(function)
        for file in SOURCES
        for function in functions(file)
    }
    assert {name: size for name, size in lengths.items() if size > LONGEST_FUNCTION} == {}
    long = sum(size > 35 for size in lengths.values())
    assert long / len(lengths) < 0.1


def committed() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_path_of_one_machine_is_in_the_tree() -> None:
    one_machine = re.compile(r"/(?:home|Users)/[a-z][\w-]*/|(?<![\w.])/(?:work|root)/")
    allowed = {"/home/edgewise/"}
    found = {}
    for file in committed():
        try:
            text = file.read_text()
        except UnicodeDecodeError:
            continue
        hits = {match[0] for match in one_machine.finditer(text)} - allowed
        if hits and file != Path(__file__):
            found[str(file.relative_to(ROOT))] = hits
    assert found == {}


def test_every_ignored_rule_says_why() -> None:
    for file in SOURCES:
        with file.open("rb") as stream:
            comments = [
                token.string
                for token in tokenize.tokenize(stream.readline)
                if token.type == tokenize.COMMENT
            ]
        for comment in comments:
            if "noqa" in comment:
                assert re.search(r"noqa: [A-Z0-9, ]+ +# \S|ruff: noqa: [A-Z0-9]+ +# \S", comment), (
                    file,
                    comment,
                )
