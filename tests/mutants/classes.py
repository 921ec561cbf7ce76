"""Faults of classes that are added at the desk."""

from __future__ import annotations

from tests.mutants.mutant import Mutant, of_file

TAXONOMY = of_file(
    "xray_app/taxonomy.py",
    ("tests/test_site_classes.py",),
    [
        ("classes: one that the file has under another spelling is added",
         "if (key := normalise(one.name)) not in taken:", "if (key := one.name) not in taken:"),
        ("classes: an added class changes no hash", "classes=(*self.classes, *kept), sha256=sha256)",
         "classes=(*self.classes, *kept))"),
        ("classes: what was looked for before covers a class added later", "if (item.drawn or item.added) and",
         "if item.drawn and"),
    ],
)  # fmt: skip

NAMES = of_file(
    "xray_app/site_classes.py",
    ("tests/test_site_classes.py",),
    [
        ("classes: one may be called ignore", "in (IGNORE, ALL):", "in (ALL,):"),
        ("classes: a name that is known is taken again", "if (found := taxonomy.find(name)) is not None:",
         "if (found := taxonomy.find(name)) is not None and found.name == name:"),
        ("classes: any word is a status", "if status not in list(Status):", "if not status:"),
    ],
)  # fmt: skip

STORE = of_file(
    "xray_app/store/site_taxonomy.py",
    ("tests/store/test_site_taxonomy.py",),
    [
        ("classes: a second admin overrules the first unseen", "or found.status is not one.status", ""),
        ("classes: one fewer than the most is the end", "> MOST_CLASSES:", ">= MOST_CLASSES:"),
        ("classes: the ids begin anew", "start=len(before)", "start=len(new)"),
        ("classes: they are looked up once a process", "return _with_classes(of_file, _item_classes(added(db)))",
         "return _with_classes(of_file, ())"),
    ],
)  # fmt: skip

DOORS = (
    *of_file(
        "xray_app/exchange/label_map.py",
        ("tests/exchange/test_label_map.py",),
        [
            ("classes: a new one is allowed where nobody says more", "status, Status.PROHIBITED.value",
             "status, Status.ALLOWED.value"),
            ("classes: one made before is refused to the next import", "if found is None or not found.added or",
             "if found is not None or"),
        ],
    ),
    *of_file(
        "xray_app/analysis.py",
        ("tests/test_analysis.py",),
        [
            ("classes: the language model hears nothing of a new one",
             "self.vlm.use_taxonomy(wanted.taxonomy)", "pass"),
            ("classes: evidence goes on under the old ones", "classes = self._current_rules().taxonomy.classes_sha256",
             "classes = self.rules.taxonomy.classes_sha256"),
        ],
    ),
)  # fmt: skip

CLASSES: tuple[Mutant, ...] = (*TAXONOMY, *NAMES, *STORE, *DOORS)
