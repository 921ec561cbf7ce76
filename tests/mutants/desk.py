"""Faults of the desk: risk, report, correction, store, roles, intake."""

from __future__ import annotations

from tests.mutants.mutant import Mutant, of_file

RISK = of_file(
    "xray_app/risk.py",
    ("tests/test_risk.py",),
    [
        ("risk: a threat at the threshold is not certain",
         "one.confidence >= policy.prohibited_threshold", "one.confidence > policy.prohibited_threshold"),
        ("risk: a threat at the lower threshold is not possible",
         "for one in prohibited if one.confidence >= policy.lower_threshold",
         "for one in prohibited if one.confidence > policy.lower_threshold"),
        ("risk: a restricted box at the lower threshold does not count",
         "one.vlm is not None or one.confidence >= policy.lower_threshold",
         "one.vlm is not None or one.confidence > policy.lower_threshold"),
        ("risk: an opaque area at the hard limit is searched", "> policy.opaque_hard", ">= policy.opaque_hard"),
        ("risk: an opaque area at the soft limit is reviewed", "> policy.opaque_soft", ">= policy.opaque_soft"),
        ("risk: a confidence at the low limit is doubted", "one.vlm < policy.low_confidence",
         "one.vlm <= policy.low_confidence"),
        ("risk: a threat the language model hardly believes in is dropped",
         "or one.status is Status.PROHIBITED)", "or one.status is Status.RESTRICTED)"),
        ("risk: no confidence counts as none", "return 1.0 if confidence is None", "return 0.0 if confidence is None"),
        ("risk: the unsurest box of a label counts",
         "max(map(_certain, confidences))", "min(map(_certain, confidences))"),
        ("risk: both models have to be sure", "max(self.vlm or 0.0, self.detector or 0.0)",
         "min(self.vlm or 0.0, self.detector or 0.0)"),
        ("risk: a model that is not validated clears", "if not validated:", "if not validated and seen:"),
        ("risk: an incomplete answer is trusted", "if not report.complete:", "if not report.complete and seen:"),
        ("risk: a box below the lower threshold agrees", "if _certain(box.confidence) >= policy.lower_threshold",
         "if _certain(box.confidence) >= 0"),
        ("risk: the oldest analysis of a view counts", "sorted(of_one_bag, key=lambda one: one.created_at)",
         "sorted(of_one_bag, key=lambda one: one.created_at, reverse=True)"),
        ("risk: what a person found is reviewed, not searched", '(Status.PROHIBITED, "HIGH", "SEARCH")',
         '(Status.PROHIBITED, "HIGH", "REVIEW")'),
        ("risk: what people found replaces the models' risk", "worst((rated, people), lambda one: one)", "people"),
        ("risk: who found it last is named", "first.setdefault(one.label, one)", "first[one.label] = one"),
        ("risk: low is worse than high", "get_args(Level).index", "get_args(Level)[::-1].index"),
    ],
)  # fmt: skip

PARSER = of_file(
    "xray_app/report.py",
    ("tests/test_report.py",),
    [
        ("parser: a threat said twice has its lower confidence", "safer = max if", "safer = min if"),
        ("parser: an answer that was cut off is complete", "complete=parsed.complete and finished",
         "complete=parsed.complete"),
        ("parser: repeated labels do not add up", "counts.get(entry.label, 0) + entry.count", "entry.count"),
        ("parser: a threat mentioned beside the list is dropped",
         "if listed or not one.possible:", "if not one.possible:"),
    ],
)  # fmt: skip

FORM = of_file(
    "xray_app/report_form.py",
    ("tests/test_report.py",),
    [
        ("parser: none of an item is an item", "not 1 <= counted <= MAX_COUNT", "not 0 <= counted <= MAX_COUNT"),
        ("parser: an answer without a risk sentence is complete", " and risk_sections == 1", ""),
        ("parser: two lists are one complete answer", "items_sections == 1", "items_sections >= 1"),
        ("parser: a risk above the items listed is trusted", "if LEVELS.index(level) > highest:", "if False:"),
        ("parser: a risk as high as the items listed is not trusted",
         "LEVELS.index(level) > highest", "LEVELS.index(level) >= highest"),
        ("parser: a threat of the risk sentence need not be listed", "if label not in listed:", "if False:"),
        ("parser: none beside an item is understood", "if self._none_at is not None and self.entries:", "if False:"),
        ("parser: a plural without a number is one item", "== normalise(found.plural) != normalise(found.name)",
         "== normalise(found.plural) == normalise(found.name)"),
        ("parser: a restricted item makes the risk high", 'Status.RESTRICTED: "MEDIUM"', 'Status.RESTRICTED: "HIGH"'),
    ],
)  # fmt: skip

COUNT = of_file(
    "xray_app/types.py",
    ("tests/test_report.py", "tests/correction/test_revision.py"),
    [
        ("parser: a hundred items are countable", "MAX_COUNT = 99", "MAX_COUNT = 100"),
        ("parser: ninety-nine items are not countable", "MAX_COUNT = 99", "MAX_COUNT = 98"),
    ],
)

REVISION = of_file(
    "xray_app/correction/revision.py",
    ("tests/correction/test_revision.py", "tests/store/test_corrections.py"),
    [
        ("split: one bag in four is held out", "HOLDOUT_ONE_IN = 5", "HOLDOUT_ONE_IN = 4"),
        ("split: another fifth is held out", "% HOLDOUT_ONE_IN == 0", "% HOLDOUT_ONE_IN == 1"),
        ("split: another hash picks the side", "hashlib.sha256(bag_id", "hashlib.sha512(bag_id"),
        ("revision: a pending revision does not stand", 'one.status != "rejected"', 'one.status == "accepted"'),
        ("revision: the oldest revision stands", "in reversed(revisions)", "in revisions"),
        ("revision: a hundred of a class are taken", "if count > MAX_COUNT:", "if count > MAX_COUNT + 1:"),
        ("revision: 99 of a class are refused", "if count > MAX_COUNT:", "if count >= MAX_COUNT:"),
        ("revision: one's own correction is accepted", "if correction.author == reviewer:", "if False:"),
        ("revision: a box moved by a hundredth of a pixel is the model's", "UNMOVED = 1e-3", "UNMOVED = 1e-2"),
        ("revision: a relabelled box is the model's", "before.label == after.label and same_place(before, after)",
         "same_place(before, after)"),
        ("revision: a box past the picture is taken", "0 <= x0 < x1 <= width", "0 <= x0 < x1 <= width + 1"),
        ("revision: a box at the edge is refused", "0 <= y0 < y1 <= height", "0 <= y0 < y1 < height"),
        ("revision: a box is sent twice", "if given.id in seen:", "if False:"),
        ("revision: an untouched box becomes human", "labels.box(given.id, before.source,",
         'labels.box(given.id, "human",'),
        ("revision: what nobody looked for was removed",
         "if id not in boxes_after and looked_for(box.label)", "if id not in boxes_after"),
    ],
)  # fmt: skip

STATEMENTS = of_file(
    "xray_app/correction/statements.py",
    ("tests/correction/test_statements.py",),
    [
        ("statements: a rejected revision counts", 'if one.kind == "rejected":', "if False:"),
        ("statements: a pending revision lowers anothers word", 'if self.kind == "accepted":',
         'if self.kind in ("accepted", "pending"):'),
        ("statements: what is accepted as saved lowers anothers word", 'if self.kind == "accepted":',
         'if self.kind in ("accepted", "saved"):'),
        ("statements: ones own pending word cannot be taken back", 'earlier.kind == "pending" or', "False or"),
        ("statements: an accepted word is taken back by a pending one of its author",
         'own and (earlier.kind == "pending" or', 'own and (earlier.kind != "saved" or'),
        ("statements: a hand search is replaced", 'if "search" in (self.kind, earlier.kind) or', "if"),
        ("statements: who looked for one class speaks of all", "self.looked_for is None or label in self.looked_for",
         "True"),
        ("statements: a box without an item does not count", "(*correction.items, *correction.boxes)",
         "(*correction.items,)"),
        ("statements: a user of old is taken for the policy", "if author.casefold() == POLICY", "if author == POLICY"),
        ("statements: ones own word is anothers", "if one.by != new.by and", "if True and"),
        ("statements: the same level is lower", "severity(after) >= severity(before)",
         "severity(after) > severity(before)"),
        ("statements: a bag is what its view is", "worst((self.of_view(analysis), self.risk), lambda one: one)",
         "self.of_view(analysis)"),
    ],
)  # fmt: skip

MERGE = [
    *of_file(
        "xray_app/correction/merging.py",
        ("tests/correction/test_merging.py",),
        [
            ("merge: boxes that share half are two", ">= SAME_OBJECT", "> SAME_OBJECT"),
            ("merge: boxes of two labels are one", " and other.label == box.label]", "]"),
            ("merge: the lower count is kept", "count = max(my, their)", "count = min(my, their)"),
            ("merge: a count grows past 99", "counts[label] = min(count, MAX_COUNT)", "counts[label] = count"),
            ("merge: of a clash their box is kept", "found.append(my or their or old)",
             "found.append(their or my or old)"),
            ("merge: what was not looked for was deleted", " and box.label not in version.looked_for}", " and False}"),
            ("merge: a clash is not said", "clashes.append(_clash(old, my, their))", "_clash(old, my, their)"),
            ("merge: counts that followed the boxes do so no more", "if my == my_boxes and their == their_boxes:",
             "if False:"),
        ],
    ),
    *of_file(
        "xray_app/correction/draft.py",
        ("tests/correction/test_draft.py",),
        [
            ("merge: everything is looked for only where both did", "if mine is None or theirs is None:",
             "if mine is None and theirs is None:"),
            ("merge: a draft stays on its old revision", "base_revision=revisions[-1].revision",
             "base_revision=draft.base_revision"),
            ("merge: a box keeps an id that is gone", "id=box.id if box.id in known else None", "id=box.id"),
        ],
    ),
]  # fmt: skip

ROLES = [
    *of_file(
        "xray_app/types.py",
        ("tests/test_auth.py",),
        [
            ("roles: a lower role includes a higher one", "order.index(self) >= order.index(other)",
             "order.index(self) <= order.index(other)"),
            ("roles: no role includes itself", "order.index(self) >= order.index(other)",
             "order.index(self) > order.index(other)"),
        ],
    ),
    *of_file(
        "xray_app/auth.py",
        ("tests/test_auth.py",),
        [
            ("roles: any role will do", "if not identity.role.includes(role):", "if False:"),
            ("roles: a session lasts thirteen hours", "SESSION = timedelta(hours=12)", "SESSION = timedelta(hours=13)"),
            ("roles: six passwords may be tried", "MAX_FAILURES = 5", "MAX_FAILURES = 6"),
            ("roles: four passwords may be tried", "MAX_FAILURES = 5", "MAX_FAILURES = 4"),
            ("roles: tries are forgotten early", "FAILURE_WINDOW = timedelta(minutes=5)",
             "FAILURE_WINDOW = timedelta(minutes=4)"),
            ("roles: seven characters are a password", "MIN_PASSWORD = 8", "MIN_PASSWORD = 7"),
        ],
    ),
    *of_file(
        "xray_app/api/deps.py",
        ("tests/api/test_roles.py",),
        [("roles: routes ask for no role", "auth.require(identity, role)", "auth.require(identity, Role.ANALYST)")],
    ),
    *of_file(
        "xray_app/store/sessions.py",
        ("tests/test_auth.py",),
        [("roles: a session never ends", "SessionRow.expires_at > datetime.now(UTC),", "")],
    ),
]  # fmt: skip

IDEMPOTENCY = [
    *of_file(
        "xray_app/store/idempotency.py",
        ("tests/store/test_idempotency.py",),
        [
            ("idempotency: an answer is forgotten early", "KEPT = timedelta(hours=24)", "KEPT = timedelta(hours=23)"),
            ("idempotency: an answer is kept for longer", "KEPT = timedelta(hours=24)", "KEPT = timedelta(hours=25)"),
            ("idempotency: a request is given up early", "ABANDONED = timedelta(minutes=30)",
             "ABANDONED = timedelta(minutes=29)"),
            ("idempotency: a dead request holds its key for longer", "ABANDONED = timedelta(minutes=30)",
             "ABANDONED = timedelta(minutes=31)"),
            ("idempotency: an answered request is given up too", "row.status is None and row.created_at <",
             "row.created_at <"),
            ("idempotency: a key answers another request", "if row.request_sha256 != request_sha256:", "if False:"),
            ("idempotency: an answer is forgotten as if it had failed",
             "row is not None and row.status is None:\n            session.delete",
             "row is not None:\n            session.delete"),
            ("idempotency: the work's own answer is replaced", "row.status is None:\n            row.status",
             "True:\n            row.status"),
            ("idempotency: a key of 201 characters is taken", "MAX_KEY = 200", "MAX_KEY = 201"),
        ],
    ),
    *of_file(
        "xray_app/api/idempotency.py",
        ("tests/api/test_idempotency.py",),
        [
            ("idempotency: a fault is remembered", "status < 400 or", "status < 600 or"),
            ("idempotency: a refusal is not remembered", "or status in LASTING", ""),
            ("idempotency: a key is the same on every path", "{scope['method']} {scope['path']}", "{scope['method']}"),
            ("idempotency: the order of fields is another request", ", sort_keys=True", ""),
        ],
    ),
]  # fmt: skip

APPEND_ONLY = [
    *of_file(
        "xray_app/store/migrations/versions/0001_first_tables.py",
        ("tests/store/test_database.py",),
        [
            ("append-only: history may be deleted", 'for event in ("UPDATE", "DELETE"):', 'for event in ("UPDATE",):'),
            ("append-only: history may be rewritten",
             'for event in ("UPDATE", "DELETE"):', 'for event in ("DELETE",):'),
        ],
    ),
    *of_file(
        "xray_app/store/corrections.py",
        ("tests/store/test_corrections.py",),
        [
            ("append-only: a correction on an old base is taken",
             "if base_revision == (newest.revision if newest else 0):", "if True:"),
            ("append-only: a correction waits for no review", '"pending" if review_required else "accepted"',
             '"accepted"'),
        ],
    ),
    *of_file(
        "xray_app/store/decisions.py",
        ("tests/store/test_decisions.py", "tests/store/test_standing_risk.py"),
        [
            ("append-only: another's decision is taken back", "if row.author != author:", "if False:"),
            ("append-only: a decision is taken back late", "UNDO_FOR = timedelta(seconds=5)",
             "UNDO_FOR = timedelta(seconds=6)"),
            ("append-only: a decision is hardly taken back", "UNDO_FOR = timedelta(seconds=5)",
             "UNDO_FOR = timedelta(seconds=4)"),
            ("append-only: a bag is cleared in one low view", "(row.risk_level, bag.risk.level)", "(row.risk_level,)"),
            ("append-only: a HIGH bag is cleared without a word", 'or (note or "").strip():', "or True:"),
            ("append-only: a space is a reason", '(note or "").strip()', '(note or "")'),
            ("append-only: a blind bag tells what the models say", "bag.by_people if blind else bag.over",
             "bag.over"),
        ],
    ),
    *of_file(
        "xray_app/store/adapters.py",
        ("tests/store/test_adapters.py", "tests/training/promotion/test_registry.py"),
        [
            ("append-only: a second rollback brings back what was taken away",
             "while len(states) > 1 and states[-1] != adapter_id:", "while False:"),
            ("append-only: an adapter answers over another base model",
             "if (row.kind, row.base_sha256) != (kind, base_sha256):", "if row.kind != kind:"),
        ],
    ),
]  # fmt: skip

INTAKE = [
    *of_file(
        "xray_app/intake.py",
        ("tests/test_intake.py",),
        [
            ("intake: a file is known again for an hour", "RESENT_WITHIN = timedelta(minutes=30)",
             "RESENT_WITHIN = timedelta(minutes=60)"),
            ("intake: a file is known again for minutes", "RESENT_WITHIN = timedelta(minutes=30)",
             "RESENT_WITHIN = timedelta(minutes=3)"),
            ("intake: a file sent again is stored again", "if before is None:", "if True:"),
            ("intake: a first sending that ended meanwhile is not seen",
             "before = before or (self._came_before(scan, username) if resent else None)", "pass"),
            ("intake: another view is taken for the one sent before",
             "(facts.sha256, facts.bag_id, facts.view, facts.scanner_id) == sent",
             "(facts.sha256, facts.bag_id, sent[2], facts.scanner_id) == sent"),
            ("intake: a blind scan is shown", "blind=blind()", "blind=False"),
        ],
    ),
    *of_file(
        "xray_app/scan/picture.py",
        ("tests/scan/test_read.py",),
        [
            ("intake: a side of 16 pixels is too narrow", "MIN_SIDE = 16", "MIN_SIDE = 17"),
            ("intake: a side of 15 pixels is wide enough", "MIN_SIDE = 16", "MIN_SIDE = 15"),
            ("intake: fifty to one is too long", "MAX_ASPECT = 50", "MAX_ASPECT = 49"),
            ("intake: a picture of the limit is too large", "width * height > limits.max_pixels",
             "width * height >= limits.max_pixels"),
            ("intake: a file of the limit is too large", "len(content) > limits.max_bytes",
             "len(content) >= limits.max_bytes"),
            ("intake: of an animation the first picture is read",
             'if opened.format not in ("MPO", "TIFF") and getattr(opened, "is_animated", False):', "if False:"),
        ],
    ),
    *of_file(
        "xray_app/scan/attenuation.py",
        ("tests/scan/test_read.py",),
        [("intake: what is seen through is opaque", "OPAQUE_BELOW = 40", "OPAQUE_BELOW = 41")],
    ),
    *of_file(
        "xray_app/analysis.py",
        ("tests/test_analysis.py",),
        [
            ("intake: an adapter that did not load is believed to answer", "self._adapter = _UNKNOWN", "pass"),
            ("intake: one more scan waits than the queue holds", "BoundedSemaphore(max_queue + 1)",
             "BoundedSemaphore(max_queue + 2)"),
            ("intake: a failure keeps its place in the queue", "finally:\n            self._slots.release()",
             "finally:\n            pass"),
        ],
    ),
    *of_file(
        "xray_app/detector/boxes.py",
        ("tests/test_detector.py",),
        [
            ("intake: boxes that share half are two items", "OVERLAP = 0.5", "OVERLAP = 0.55"),
            ("intake: boxes that share less than half are one item", "OVERLAP = 0.5", "OVERLAP = 0.45"),
            ("intake: boxes of two labels suppress each other", "same & (iou(", "(same | True) & (iou("),
            ("intake: a box at the threshold is left out", "best >= threshold", "best > threshold"),
        ],
    ),
]  # fmt: skip

USEFULNESS = of_file(
    "xray_app/correction/usefulness.py",
    ("tests/correction/test_usefulness.py",),
    [
        ("usefulness: one in 25 is a control", "CONTROL_ONE_IN = 20", "CONTROL_ONE_IN = 25"),
        ("usefulness: nineteen corrected scans are enough", "RARE_BELOW = 20", "RARE_BELOW = 19"),
        ("usefulness: hardly a doubt is a reason", "if doubt >= 0.3:", "if doubt >= 0.29:"),
        ("usefulness: a doubt is no reason", "if doubt >= 0.3:", "if doubt >= 0.31:"),
        ("usefulness: an allowed item that was missed is a miss",
         "item.status is not Status.ALLOWED and item.label not in seen", "item.label not in seen"),
    ],
)  # fmt: skip

DESK: tuple[Mutant, ...] = (
    *RISK,
    *PARSER,
    *FORM,
    *COUNT,
    *REVISION,
    *STATEMENTS,
    *MERGE,
    *ROLES,
    *IDEMPOTENCY,
    *APPEND_ONLY,
    *INTAKE,
    *USEFULNESS,
)
