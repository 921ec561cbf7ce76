"""A YAML file read node by node rather than as plain values, because a node knows its line."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import yaml

from xray_app.errors import BadTaxonomy

T = TypeVar("T")


class YamlNodes:
    """Takes nodes of one file for what they must be. Every method raises BadTaxonomy, with the line, where one is not.

    Args:
        filename: as messages name it.
    """

    def __init__(self, filename: str) -> None:
        self.filename = filename

    def root(self, content: bytes) -> yaml.Node:
        """The whole file's node."""
        try:
            root = yaml.compose(content.decode("utf-8-sig"), Loader=yaml.SafeLoader)
        except UnicodeDecodeError as error:
            line = content[: error.start].count(b"\n") + 1
            raise BadTaxonomy(f"{self.filename}, line {line}: not UTF-8 text.") from error
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = f", line {mark.line + 1}" if mark else ""
            problem = error.problem or error.context
            raise BadTaxonomy(f"{self.filename}{where}: not valid YAML: {problem}.") from error
        except (yaml.YAMLError, RecursionError) as error:
            line = content[: getattr(error, "position", 0)].count(b"\n") + 1
            raise BadTaxonomy(f"{self.filename}, line {line}: not valid YAML: {error}.") from error
        if root is None:
            raise BadTaxonomy(f"{self.filename}, line 1: the file is empty.")
        return root

    def mapping(
        self, node: yaml.Node, what: str, required: tuple[str, ...] = (), optional: tuple[str, ...] = ()
    ) -> dict[str, yaml.Node]:
        """The nodes by key. Any keys go where neither required nor optional ones are given."""
        if not isinstance(node, yaml.MappingNode):
            raise self.wrong(node, f"{what} must be a mapping of keys to values")
        found: dict[str, yaml.Node] = {}
        for key_node, value in node.value:
            key = self.text(key_node, f"a key of {what}")
            if key in found:
                raise self.wrong(key_node, f"{key!r} is given twice in {what}")
            if (required or optional) and key not in required + optional:
                known = ", ".join(required + optional)
                raise self.wrong(key_node, f"unknown key {key!r} in {what}; known: {known}")
            found[key] = value
        for key in required:
            if key not in found:
                raise self.wrong(node, f"{what} lacks {key!r}")
        return found

    def sequence(self, node: yaml.Node, what: str, one: Callable[[yaml.Node, str], T]) -> tuple[T, ...]:
        if not isinstance(node, yaml.SequenceNode):
            raise self.wrong(node, f"{what} must be a list")
        return tuple(one(value, what) for value in node.value)

    def text(self, node: yaml.Node, what: str) -> str:
        # Anything written plainly is taken as text, so that a class called `on` or `no` needs no quotes.
        if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
            raise self.wrong(node, f"{what} must be text")
        return str(node.value)

    def flag(self, node: yaml.Node, what: str) -> bool:
        value = node.value if isinstance(node, yaml.ScalarNode) else None
        if value not in ("true", "false"):
            raise self.wrong(node, f"{what} must be true or false")
        return bool(value == "true")

    def fraction(self, node: yaml.Node, what: str) -> float:
        try:
            value = float(node.value) if isinstance(node, yaml.ScalarNode) else math.nan
        except ValueError:
            value = math.nan
        if not 0 <= value <= 1:
            raise self.wrong(node, f"{what} must be a number from 0 to 1")
        return value

    def wrong(self, node: yaml.Node, message: str) -> BadTaxonomy:
        return BadTaxonomy(f"{self.filename}, line {line_of(node)}: {message}.", details={"line": line_of(node)})


def line_of(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
