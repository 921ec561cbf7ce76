"""The classes, aliases, statuses and policy profiles of a site, read from one YAML file.

The file is checked in full when it is loaded; whatever is wrong is refused with its line.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path

import yaml

from xray_app.errors import BadInput, BadTaxonomy, UnknownLabel
from xray_app.settings import ASSETS
from xray_app.types import XYXY, Box, BoxSource, Item, Status
from xray_app.yaml_nodes import YamlNodes, line_of

# Names become words of the report text, so they hold nothing its grammar uses: `, . ( )`, a leading digit.
_NAME = re.compile(r"[^\W\d_](?:[^\W_]|[ '’_-]){0,39}")
_RESERVED = frozenset({"none", "nothing", "detected", "threat", "restricted"})
_SEPARATORS = re.compile(r"[\s_\-]+")
_RANKED = (Status.PROHIBITED, Status.RESTRICTED, Status.ALLOWED)


def normalise(label: str) -> str:
    """The form in which labels are compared: no case, spaces, underscores or hyphens.

    `SwissArmyKnife`, `swiss_army_knife` and `Swiss army knife` are one name.
    """
    return _SEPARATORS.sub("", unicodedata.normalize("NFKC", label).casefold())


def fault_of_name(text: str) -> str | None:
    """Why a text cannot name a class, quoted before the reason; None where it can."""
    if _NAME.fullmatch(text) and normalise(text) not in _RESERVED:
        return None
    return (
        f"{text[:60]!r} cannot be used: up to 40 letters, digits, spaces, hyphens and apostrophes, a letter first, "
        "and not a word of the report itself such as 'none'"
    )


@dataclass(frozen=True)
class ItemClass:
    """One class of item.

    Attributes:
        name: canonical name in the singular.
        plural: name for counts above one; may equal `name`.
        aliases: other spellings accepted on the way in.
        status: what the site's rules say of it.
        drawn: False where the simulator does not draw it, so that no bundled model knows it.
        retired: True where it is only kept so that old records can be read.
        replaced_by: canonical name of the class that took over a retired one.
        added: True where a person added it at the desk; it is in no file, and nothing draws it.
    """

    name: str
    plural: str
    aliases: tuple[str, ...]
    status: Status
    drawn: bool = True
    retired: bool = False
    replaced_by: str | None = None
    added: bool = False

    @classmethod
    def of_desk(cls, name: str, status: Status) -> ItemClass:
        """A class that a person adds at the desk. Its plural is its name: nobody asks for another."""
        return cls(name, name, (), status, drawn=False, added=True)


@dataclass(frozen=True)
class Policy:
    """One named profile of thresholds. All figures are fractions from 0 to 1.

    Attributes:
        name: the profile's name, kept on every analysis.
        prohibited_threshold: a prohibited item or box at or above this confidence is HIGH.
        lower_threshold: at or above this, and below the one before, it is MEDIUM.
        opaque_soft: opaque share of the picture past which the bag is reviewed.
        opaque_hard: opaque share past which the bag is searched.
        low_confidence: an item the VLM names with less confidence than this is reviewed.
        recall: threat-bag recall a model pair needs to be called validated.
        margin: non-inferiority margin of the promotion gate.
        false_alarm_budget: by how much a candidate may raise the false-alarm rate.
        collapse_budget: by how much a candidate may be worse on simulated bags, where the site's own show a plain gain,
            and still go on trial.
        search_budget: share of clear bags that a threshold of the threat score may stop.
    """

    name: str
    prohibited_threshold: float
    lower_threshold: float
    opaque_soft: float
    opaque_hard: float
    low_confidence: float
    recall: float
    margin: float = 0.05
    false_alarm_budget: float = 0.05
    collapse_budget: float = 0.15
    search_budget: float = 0.10


@dataclass(frozen=True, eq=False)
class Taxonomy:
    """All classes and policies of a site. Immutable; made by `load_taxonomy` and `with_classes`.

    Attributes:
        classes: every class in file order, retired ones included; after them those added at the desk.
        policies: profiles by name.
        default_policy: name of the profile used when none is asked for.
        sha256: hash of the file's bytes and of the classes added, carried by analyses, corrections and adapters.
    """

    classes: tuple[ItemClass, ...]
    policies: Mapping[str, Policy]
    default_policy: str
    sha256: str

    def with_classes(self, added: Iterable[ItemClass]) -> Taxonomy:
        """This taxonomy with classes of the desk after its own, in this order.

        A name that is known here already is left as it is: the file has the last word on what it names.
        """
        taken, kept, sha256 = set(self._index), [], self.sha256
        for one in added:
            if (key := normalise(one.name)) not in taken:
                taken.add(key)
                kept.append(one)
                sha256 = hashlib.sha256(json.dumps([sha256, one.name, one.status.value]).encode()).hexdigest()
        return replace(self, classes=(*self.classes, *kept), sha256=sha256) if kept else self

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Canonical names in rank order, without the retired ones."""
        return tuple(sorted((c.name for c in self.classes if not c.retired), key=self.rank))

    @cached_property
    def drawn(self) -> tuple[ItemClass, ...]:
        """The classes the simulator draws, in rank order."""
        drawn = (c for c in self.classes if c.drawn and not c.retired)
        return tuple(sorted(drawn, key=lambda c: self.rank(c.name)))

    @cached_property
    def classes_sha256(self) -> str:
        """Hash of what labels mean: names, statuses and successors, in order. An alias does not change it."""
        facts = [(c.name, c.plural, c.status.value, c.drawn, c.retired, c.replaced_by) for c in self.classes]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    @cached_property
    def _ranks(self) -> dict[str, int]:
        ranked = sorted(self.classes, key=lambda c: _RANKED.index(c.status))
        return {item_class.name: index for index, item_class in enumerate(ranked)}

    @cached_property
    def _index(self) -> dict[str, ItemClass]:
        by_name = {c.name: c for c in self.classes}
        index: dict[str, ItemClass] = {}
        for item_class in self.classes:
            current = item_class
            while current.replaced_by is not None:
                current = by_name[current.replaced_by]
            for spelling in (item_class.name, item_class.plural, *item_class.aliases):
                index[normalise(spelling)] = current
        return index

    def find(self, label: str) -> ItemClass | None:
        """The class a canonical name, plural or alias stands for, or None.

        Case, spaces, underscores and hyphens do not matter. A retired class gives its replacement,
        or itself where it has none.
        """
        # Nothing longer than this is a name; a model may answer with a megabyte.
        return self._index.get(normalise(label)) if len(label) <= 200 else None

    def resolve(self, label: str) -> ItemClass:
        """Like `find`, but an unknown label raises UnknownLabel, which names it."""
        found = self.find(label)
        if found is None:
            shown = label if len(label) <= 60 else label[:57] + "..."
            message = f"{shown!r} is not a class of the taxonomy, nor an alias of one."
            raise UnknownLabel(message, details={"label": shown})
        return found

    def rank(self, name: str) -> int:
        """Place in the report: prohibited first, then restricted, then allowed, each in file order."""
        rank = self._ranks.get(name)
        return self._ranks[self.resolve(name).name] if rank is None else rank

    def scope(self, labels: Iterable[str]) -> tuple[str, ...] | None:
        """Canonical names in rank order, or None when they cover every class that is drawn or was added at the desk.

        Raises:
            UnknownLabel: a label is neither a class nor an alias.
        """
        names = {self.resolve(label).name for label in labels}
        if names >= {item.name for item in self.classes if (item.drawn or item.added) and not item.retired}:
            return None
        return tuple(sorted(names, key=self.rank))

    def policy(self, name: str = "") -> Policy:
        """The profile called `name`; the default one for "". BadInput if there is none."""
        try:
            return self.policies[name or self.default_policy]
        except KeyError:
            known = ", ".join(self.policies)
            raise BadInput(f"There is no policy called {name!r}; the taxonomy file has {known}.") from None

    def rules(self, policy: str = "") -> SiteRules:
        """This taxonomy with the profile of that name in force; the default one for "". BadInput if there is none."""
        return SiteRules(self, self.policy(policy))

    def item(self, label: str, count: int, confidence: float | None = None) -> Item:
        """An Item with canonical label, status and threat filled in. Raises UnknownLabel."""
        found = self.resolve(label)
        threat = found.status is Status.PROHIBITED
        return Item(label=found.name, count=count, status=found.status, threat=threat, confidence=confidence)

    def box(self, id: str, source: BoxSource, label: str, xyxy: XYXY, confidence: float | None = None) -> Box:
        """A Box with canonical label, status and threat filled in. Raises UnknownLabel.

        `source` is who drew it; `xyxy` is in pixels of the uploaded image.
        """
        found = self.resolve(label)
        return Box.model_validate(
            {
                "id": id,
                "source": source,
                "label": found.name,
                "confidence": confidence,
                "status": found.status,
                "threat": found.status is Status.PROHIBITED,
                "xyxy": xyxy,
            }
        )


@dataclass(frozen=True)
class SiteRules:
    """What a site's classes are and how strictly they are judged there: its taxonomy, and the profile in force.

    Attributes:
        taxonomy: classes, aliases, statuses.
        policy: one of its profiles.
    """

    taxonomy: Taxonomy
    policy: Policy

    @property
    def measured_sha256(self) -> str:
        """Hash of what a measured figure rests on: the classes, and the confidences from which the profile acts."""
        policy = self.policy
        facts = (policy.name, policy.prohibited_threshold, policy.lower_threshold, policy.low_confidence)
        return hashlib.sha256(json.dumps([self.taxonomy.classes_sha256, *facts]).encode()).hexdigest()


def prohibited_labels(taxonomy: Taxonomy, labelled_classes: Iterable[str] | None = None) -> tuple[str, ...]:
    """Prohibited classes that were looked for, in rank order; None means all were."""
    scope = None if labelled_classes is None else set(labelled_classes)
    return tuple(
        name
        for name in taxonomy.names
        if taxonomy.resolve(name).status == "prohibited" and (scope is None or name in scope)
    )


def load_taxonomy(path: Path = ASSETS / "taxonomy.yaml") -> Taxonomy:
    """Read and check a taxonomy file.

    Raises:
        BadTaxonomy: the file cannot be read, or something in it is wrong; the message names the line.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadTaxonomy(f"The taxonomy file {path} cannot be read: {error.strerror or error}.") from error
    return _Reader(path.name).read(content)


class _Reader:
    """Reads and checks the file."""

    def __init__(self, filename: str) -> None:
        self.nodes = YamlNodes(filename)

    def read(self, content: bytes) -> Taxonomy:
        root = self.nodes.root(content)
        top = self.nodes.mapping(root, "the file", required=("default_policy", "policies", "classes"))
        policies = self._policies(top["policies"])
        default = self.nodes.text(top["default_policy"], "default_policy")
        if default not in policies:
            known = ", ".join(policies)
            message = f"default_policy {default!r} is not one of the policies: {known}"
            raise self.nodes.wrong(top["default_policy"], message)
        return Taxonomy(
            classes=self._classes(top["classes"]),
            # A plain dict: taxonomies go to worker processes, and a mapping proxy cannot be pickled.
            policies=policies,
            default_policy=default,
            sha256=hashlib.sha256(content).hexdigest(),
        )

    def _policies(self, node: yaml.Node) -> dict[str, Policy]:
        entries = self.nodes.mapping(node, "policies")
        if not entries:
            raise self.nodes.wrong(node, "there must be at least one policy")
        optional = ("margin", "false_alarm_budget", "collapse_budget", "search_budget")
        required = tuple(field.name for field in fields(Policy) if field.name not in ("name", *optional))
        policies = {}
        for name, entry in entries.items():
            given = self.nodes.mapping(entry, f"policy {name!r}", required, optional)
            values = {key: self.nodes.fraction(value, key) for key, value in given.items()}
            for lower, upper in (("lower_threshold", "prohibited_threshold"), ("opaque_soft", "opaque_hard")):
                if values[lower] > values[upper]:
                    message = f"{lower} {values[lower]:g} is above {upper} {values[upper]:g}"
                    raise self.nodes.wrong(given[lower], message)
            policies[name] = Policy(name=name, **values)
        return policies

    def _classes(self, node: yaml.Node) -> tuple[ItemClass, ...]:
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            raise self.nodes.wrong(node, "classes must be a list of at least one class")
        classes: list[ItemClass] = []
        owners: dict[str, tuple[str, int]] = {}
        replacements: list[tuple[ItemClass, yaml.Node]] = []
        for entry in node.value:
            given = self.nodes.mapping(
                entry, "a class", ("name", "plural", "status"), ("aliases", "drawn", "retired", "replaced_by")
            )
            item_class = self._item_class(given)
            self._claim_names(item_class, given, owners)
            classes.append(item_class)
            if "replaced_by" in given:
                replacements.append((item_class, given["replaced_by"]))
        self._check_replacements(classes, replacements)
        return tuple(classes)

    def _item_class(self, given: Mapping[str, yaml.Node]) -> ItemClass:
        name = self._name(given["name"], "name")
        plural = self._name(given["plural"], "plural")
        status_text = self.nodes.text(given["status"], "status")
        if status_text not in list(Status):
            known = ", ".join(Status)
            raise self.nodes.wrong(given["status"], f"status {status_text!r} of {name!r} is not one of {known}")
        aliases = self.nodes.sequence(given["aliases"], "aliases", self._name) if "aliases" in given else ()
        if len(set(aliases)) < len(aliases):
            raise self.nodes.wrong(given["aliases"], f"an alias of {name!r} is listed twice")
        retired = self.nodes.flag(given["retired"], "retired") if "retired" in given else False
        replaced_by = self.nodes.text(given["replaced_by"], "replaced_by") if "replaced_by" in given else None
        if replaced_by is not None and not retired:
            raise self.nodes.wrong(given["replaced_by"], f"{name!r} has replaced_by but is not retired")
        drawn = self.nodes.flag(given["drawn"], "drawn") if "drawn" in given else True
        return ItemClass(name, plural, aliases, Status(status_text), drawn, retired, replaced_by)

    def _claim_names(
        self, item_class: ItemClass, given: Mapping[str, yaml.Node], owners: dict[str, tuple[str, int]]
    ) -> None:
        spellings = [(item_class.name, given["name"]), (item_class.plural, given["plural"])]
        if "aliases" in given:
            spellings += zip(item_class.aliases, given["aliases"].value, strict=True)
        mine: dict[str, tuple[str, int]] = {}
        for spelling, node in spellings:
            key = normalise(spelling)
            if key in owners:
                owner, line = owners[key]
                raise self.nodes.wrong(node, f"{spelling!r} already belongs to {owner!r} (line {line})")
            mine.setdefault(key, (item_class.name, line_of(node)))
        owners.update(mine)

    def _check_replacements(self, classes: list[ItemClass], replacements: list[tuple[ItemClass, yaml.Node]]) -> None:
        by_name = {c.name: c for c in classes}
        for item_class, node in replacements:
            seen = {item_class.name}
            current = item_class
            while current.replaced_by is not None:
                if current.replaced_by not in by_name:
                    raise self.nodes.wrong(node, f"replaced_by {current.replaced_by!r} is not the name of a class")
                current = by_name[current.replaced_by]
                if current.name in seen:
                    raise self.nodes.wrong(node, f"{item_class.name!r} is replaced by itself, in a circle")
                seen.add(current.name)
            if current.retired:
                message = f"{item_class.name!r} is replaced by {current.name!r}, which is retired too"
                raise self.nodes.wrong(node, message)

    def _name(self, node: yaml.Node, what: str) -> str:
        text = self.nodes.text(node, what)
        if (fault := fault_of_name(text)) is not None:
            raise self.nodes.wrong(node, f"{what} {fault}")
        return text
