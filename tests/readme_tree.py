"""The README's tree of the code, made of the docstrings' first sentences: `python -m tests.readme_tree --write`."""

from __future__ import annotations

import argparse
import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
FILES = (
    "app.py",
    "training/promotion/gate.py",
    "xray_app/exchange/formats.py",
    "xray_app/html/charts.py",
    "xray_app/store/corrections.py",
    "xray_app/vlm/pictures.py",
    "xray_app/vlm/prompt.py",
)
"""Shown besides every package and the modules right under `xray_app`."""
WITHOUT_DOCSTRING = {
    "assets/": "Bundled models with their cards, sample scans, `taxonomy.yaml` with classes and policies.",
    "training/LOG.md": "What was tried and what came of it, failures included.",
    "xray_app/ui/browser/": "The desk's code in the browser: ES modules.",
    "xray_app/ui/browser/keys.js": "The keys of every tab.",
}
FENCE = "```text\n"


def first_sentence(module: Path) -> str:
    """Of the docstring's first line.

    Raises:
        ValueError: the module has no docstring.
    """
    docstring = ast.get_docstring(ast.parse(module.read_text()))
    if not docstring:
        raise ValueError(f"{module} has no docstring.")
    sentence, stop, _ = docstring.splitlines()[0].partition(". ")
    return sentence + stop.strip()


def entries() -> dict[str, str]:
    """Path to its line, in the order of the tree: a folder's files before its folders."""
    found = {path: first_sentence(ROOT / path) for path in FILES}
    for module in (ROOT / "xray_app").glob("*.py"):
        if not module.name.startswith("__"):
            found[f"xray_app/{module.name}"] = first_sentence(module)
    for top in ("xray_app", "training", "tests"):
        for package in (ROOT / top).rglob("__init__.py"):
            folder = f"{package.parent.relative_to(ROOT)}/"
            if top != "tests" or folder in ("tests/", "tests/benchmarks/", "tests/browser/"):
                found[folder] = first_sentence(package)
    found |= {path: words for path, words in WITHOUT_DOCSTRING.items() if (ROOT / path).exists()}
    return {path: found[path] for path in sorted(found, key=_place)}


def _place(path: str) -> list[tuple[bool, str]]:
    parts = path.rstrip("/").split("/")
    folders = [(True, part) for part in parts[:-1]]
    return [*folders, (path.endswith("/"), parts[-1])]


def tree() -> str:
    """The tree as it stands in the README, without its fences."""
    lines = []
    for path, words in entries().items():
        depth = path.rstrip("/").count("/")
        name = path.rstrip("/").rsplit("/", 1)[-1] + ("/" if path.endswith("/") else "")
        lines.append(f"{'  ' * depth + name:<19} {words}\n")
    return "".join(lines)


def with_tree(readme: str) -> str:
    """The README with the tree as it is now."""
    before, _, rest = readme.partition(FENCE)
    _, _, after = rest.partition("```\n")
    return f"{before}{FENCE}{tree()}```\n{after}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.readme_tree", description=__doc__)
    parser.add_argument("--write", action="store_true", help="into the README, instead of the screen")
    if parser.parse_args().write:
        README.write_text(with_tree(README.read_text()))
    else:
        print(tree(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
