"""The house rules that no linter knows: sizes, vendor words, recipes that validate."""

import ast
import re
from pathlib import Path

import pytest

from mlpf_stream.config import load_recipe

ROOT = Path(__file__).parents[2]
PACKAGE = sorted((ROOT / "mlpf_stream").rglob("*.py"))
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
VENDORS = re.compile(r"(?i)\b(cuda|rocm|hpu|nvidia|amd|gaudi)\b|torch\.cuda")
VENDOR_FILES = {"device.py", "config.py", "pools.py"}
LITERAL = re.compile(r'Literal\[("\w+", )*"\w+"\]')


def names(paths):
    return [path.relative_to(ROOT).as_posix() for path in paths]


def test_there_is_a_house():
    assert len(PACKAGE) > 50
    assert len(RECIPES) >= 2


@pytest.mark.parametrize("path", PACKAGE, ids=names(PACKAGE))
def test_files_and_functions_are_short(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno + 1 <= 60, node.name


@pytest.mark.parametrize("path", PACKAGE, ids=names(PACKAGE))
def test_the_library_prints_nothing(path):
    calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    assert [node.lineno for node in calls if getattr(node.func, "id", "") == "print"] == []


def test_vendor_words_live_in_their_files():
    found = {
        f"{path.name}:{number}"
        for path in PACKAGE
        if path.name not in VENDOR_FILES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if VENDORS.search(LITERAL.sub("", line))
    }
    assert found == set()


def test_in_the_recipe_a_vendor_word_is_only_the_name_of_a_device():
    text = (ROOT / "mlpf_stream" / "config.py").read_text()
    assert not VENDORS.search(LITERAL.sub("", text))


@pytest.mark.parametrize("path", RECIPES, ids=names(RECIPES))
def test_every_recipe_is_valid(path):
    recipe = load_recipe(str(path))
    assert recipe.run.dir.endswith(path.stem)


def test_the_readme_shows_the_two_commands():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make demo" in text
    assert "make test" in text
