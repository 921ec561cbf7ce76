"""Faults of the training: gate, evaluation, hold-out, split, masking."""

from __future__ import annotations

from tests.mutants.mutant import Mutant, of_file

GATE = [
    *of_file(
        "training/promotion/gate.py",
        ("tests/training/promotion/test_gate.py", "tests/training/promotion/test_gate_site.py"),
        [
            ("gate: a bound at the margin does not pass", "if low > -allowed:", "if low > 0:"),
            ("gate: what is not shown is refused", '"refused" if estimate < -allowed and plain_loss',
             '"refused" if estimate < -allowed or plain_loss'),
            ("gate: what may be chance is refused", "estimate < -allowed and plain_loss", "estimate < -allowed"),
            ("gate: a plain loss within the margin is refused", "estimate < -allowed and plain_loss", "plain_loss"),
            ("gate: the estimate decides, not the bound", "_answer(change.low, change.estimate",
             "_answer(change.estimate, change.estimate"),
            ("gate: false alarms may only fall", "quiet, policy.false_alarm_budget", "quiet, 0.0"),
            ("gate: fewer false alarms are a loss", "Difference.of(~alarms[0], ~alarms[1])", "Difference.of(*alarms)"),
            ("gate: at equal false alarms one margin decides", "change, 2 * policy.margin", "change, policy.margin"),
            ("gate: equal false alarms are not looked at",
             "        _at_equal_alarms(active, candidate, policy),\n", ""),
            ("gate: 299 threat bags of the site decide", "SITE_THREATS_NEEDED = 300", "SITE_THREATS_NEEDED = 299"),
            ("gate: 300 threat bags of the site decide nothing", "if threats < SITE_THREATS_NEEDED:",
             "if threats <= SITE_THREATS_NEEDED:"),
            ("gate: too few bags of the site leave it open", 'replace(one, answer="reported") if one.answer',
             'replace(one, answer="not shown yet") if one.answer'),
            ("gate: too few bags of the site get a tick", 'replace(one, answer="reported") if one.answer',
             'replace(one, answer="passed") if one.answer'),
            ("gate: a plain loss on the site is no matter", 'one.answer == "not shown yet" else one for one in site',
             'one.answer != "passed" else one for one in site'),
            ("gate: 50 bags of the site are not enough", "if bags < SITE_BAGS_NEEDED", "if bags <= SITE_BAGS_NEEDED"),
            ("gate: bags in which nobody looked count", "int(site.sought.sum()), int(", "len(site.bags), int("),
            ("gate: any gain on the site forgives", "if not gain.plain_gain:", "if gain.estimate <= 0:"),
            ("gate: a gain on the site forgives every loss", "one.loss <= policy.collapse_budget", "True"),
            ("gate: a gain on the site forgives nothing at the budget", "one.loss <= policy.collapse_budget",
             "one.loss < policy.collapse_budget - 0.02"),
            ("gate: what is forgiven passes", 'replace(one, answer="not shown yet", detail=one.detail',
             'replace(one, answer="passed", detail=one.detail'),
            ("gate: a forgotten class costs nothing", '.join(forgotten)}.", loss)', '.join(forgotten)}.")'),
            ("gate: an item list may lose one margin", "allowed, items = \"item list\", 2 * policy.margin",
             "allowed, items = \"item list\", policy.margin"),
            ("gate: an item list may lose three margins", "allowed, items = \"item list\", 2 * policy.margin",
             "allowed, items = \"item list\", 3 * policy.margin"),
            ("gate: 49 items decide", "ITEMS_NEEDED = 50", "ITEMS_NEEDED = 49"),
            ("gate: 50 items decide nothing", "if items < ITEMS_NEEDED:", "if items <= ITEMS_NEEDED:"),
            ("gate: a class of 29 items is tested", "CLASS_SUPPORT = 30", "CLASS_SUPPORT = 29"),
            ("gate: a class of 30 items is not tested",
             "support[place] >= CLASS_SUPPORT", "support[place] > CLASS_SUPPORT"),
            ("gate: two classes are tested as one", "COLLAPSE_LEVEL / len(tested)", "COLLAPSE_LEVEL"),
            ("gate: one in a hundred classes is forgotten", "COLLAPSE_LEVEL = 0.05", "COLLAPSE_LEVEL = 0.01"),
            ("gate: a small loss of a class is a collapse", " and was - now > policy.margin * total", ""),
            ("gate: a better detector is refused", "active.gain_of(candidate), -candidate.gain_of(active)",
             "candidate.gain_of(active), -active.gain_of(candidate)"),
            ("gate: 50 boxes decide nothing", "candidate.boxes < ITEMS_NEEDED", "candidate.boxes <= ITEMS_NEEDED"),
            ("gate: tables of different bags are compared",
             "if (active.simulated.bags, active.site.bags) != (candidate.simulated.bags, candidate.site.bags):",
             "if False:"),
            ("gate: a training without effect passes", 'answer="passed" if answers_differ else "refused",',
             'answer="passed",'),
            ("gate: an adapter that left keys over passes", 'answer="passed" if load_problem is None else "refused",',
             'answer="passed",'),
        ],
    ),
    *of_file(
        "training/promotion/paired.py",
        ("tests/training/promotion/test_paired.py", "tests/training/promotion/test_gate.py"),
        [
            ("gate: lost and gained change places", "paired_lower_bound(gained, lost, count), -paired_lower_bound(",
             "paired_lower_bound(lost, gained, count), -paired_lower_bound("),
            ("gate: ninety per cent are sure enough", "Z95 = 1.6448536269514722", "Z95 = 1.2815515655446004"),
            ("gate: a coin shows 80 % of the time", "Z80 = 0.8416212335729143", "Z80 = 0.0"),
            ("gate: five lost of few are plain", "PLAIN = 0.025", "PLAIN = 0.04"),
            ("gate: six lost of few are chance", "PLAIN = 0.025", "PLAIN = 0.015"),
            ("gate: a tie is a loss of the sign test", "for k in range(lost, discordant + 1)",
             "for k in range(lost + 1, discordant + 1)"),
            ("gate: false alarms are held equal at the fewer", "alarms = np.maximum(", "alarms = np.minimum("),
            ("gate: where scores tie all are flagged in a resample", "above + share * tied", "above + tied"),
            ("gate: where scores tie all are flagged", "(scores == level[0]) * share[0]", "(scores == level[0])"),
            ("gate: the bound knows no uncertain threshold", "min(paired_lower_bound(gained, lost, count), float(low))",
             "paired_lower_bound(gained, lost, count)"),
            ("gate: the bootstrap's bound alone", "min(paired_lower_bound(gained, lost, count), float(low))",
             "float(low)"),
        ],
    ),
    *of_file(
        "xray_app/adapter.py",
        ("tests/test_adapter.py",),
        [
            ("gate: an open check outweighs a refusal", '("refused", "not shown yet") if one in answers',
             '("not shown yet", "refused") if one in answers'),
            ("gate: what is not shown counts as passed", 'return self.answer == "passed"\n\n    @classmethod',
             'return self.answer != "refused"\n\n    @classmethod'),
            ("gate: what was refused before passed", 'if values["passed"] is True else',
             'if "passed" in values else'),
        ],
    ),
    *of_file(
        "training/promotion/registry.py",
        ("tests/training/promotion/test_registry.py",),
        [
            ("gate: a trial gets round a refusal", 'trial and answer == "not shown yet"', "trial"),
            ("gate: force gets round a trial", 'force and answer == "refused"', "force"),
            ("gate: a trial needs no reason", 'if answer != "passed" and not (reason', "if forced and not (reason"),
        ],
    ),
    *of_file(
        "xray_app/store/adapters.py",
        ("tests/training/promotion/test_registry.py",),
        [
            ("gate: a trial goes on when it is rolled back", "trial=is_active and gate", "trial=gate"),
            ("gate: a trial is measured against itself", "found.id != besides", "True"),
        ],
    ),
]  # fmt: skip

EVALUATION = [
    *of_file(
        "training/evaluation/bag_table.py",
        ("tests/training/evaluation/test_evaluate.py",),
        [
            ("evaluation: a threat at the threshold flags no bag", "threat_score >= rules.policy.prohibited_threshold",
             "threat_score > rules.policy.prohibited_threshold"),
            ("evaluation: items said too often are hits", "+= min(number, there)", "+= max(number, there)"),
            ("evaluation: a wrong count is calibrated", "(1, confidence, number == there)",
             "(1, confidence, there > 0)"),
            ("evaluation: a bag in which nobody looked is clear", "return self.sought & ~self.threat",
             "return ~self.threat"),
            ("evaluation: the unsurest label is the first", "surest = max(view.said", "surest = min(view.said"),
            ("evaluation: F1 counts hits once", '"item_f1": (2 * self.hit.sum(1)', '"item_f1": (self.hit.sum(1)'),
            ("evaluation: a list is right with the right labels", "dict(view.true) == dict(view.said)",
             "set(view.true) == set(view.said)"),
            ("evaluation: the last view alone flags a bag",
             "max(table.threat_score[row], view.confidence", "max(0.0, view.confidence"),
        ],
    ),
    *of_file(
        "training/evaluation/evaluate.py",
        ("tests/training/evaluation/test_evaluate.py",),
        [
            ("evaluation: an unsure box is an item",
             "DETECTOR_ITEM_CONFIDENCE = 0.25", "DETECTOR_ITEM_CONFIDENCE = 0.24"),
            ("evaluation: a box at the confidence is no item", "if box.confidence >= item_confidence:",
             "if box.confidence > item_confidence:"),
            ("evaluation: together the models say what the lesser said",
             "max(seen[label] for seen", "min(seen[label] for seen"),
        ],
    ),
    *of_file(
        "training/evaluation/bootstrap.py",
        ("tests/training/evaluation/test_evaluate.py",),
        [
            ("evaluation: the bound is the upper one", "100 * (1 - level)", "100 * level"),
            ("evaluation: the models are compared on other bags", "draws_of(len(values)) @ values",
             "np.random.default_rng().permutation(draws_of(len(values))) @ values"),
        ],
    ),
    *of_file(
        "training/evaluation/mean_average_precision.py",
        ("tests/training/evaluation/test_mean_average_precision.py",),
        [
            ("evaluation: one item is found twice", "free[fits.argmax()] = False", "free[fits.argmax()] = True"),
            ("evaluation: overlap begins at 0.55", "np.linspace(0.5, 0.95, 10)", "np.linspace(0.55, 0.95, 10)"),
            ("evaluation: recall has a hundred points", "np.linspace(0, 1, 101)", "np.linspace(0, 1, 100)"),
        ],
    ),
]  # fmt: skip

HOLDOUT = [
    *of_file(
        "training/promotion/holdout.py",
        ("tests/training/promotion/test_holdout.py",),
        [
            ("hold-out: a learnt probability is rounding", "SAME_PROBABILITY = 1e-4", "SAME_PROBABILITY = 1.2e-4"),
            ("hold-out: rounding is a learnt probability", "SAME_PROBABILITY = 1e-4", "SAME_PROBABILITY = 0.8e-4"),
            ("hold-out: a moved box is the same", "SAME_PIXELS = 0.1", "SAME_PIXELS = 0.12"),
            ("hold-out: 31 scans are asked", "PROBE = 32", "PROBE = 31"),
            ("hold-out: 33 scans are asked", "PROBE = 32", "PROBE = 33"),
            ("hold-out: another text is the same answer", "if one.text != other.text or", "if"),
            ("hold-out: figures of other classes or thresholds are taken", "[rules.measured_sha256]", "['']"),
            ("hold-out: figures kept before are of any file", "[rules.taxonomy.sha256, rules", "['', rules"),
        ],
    ),
    *of_file(
        "xray_app/store/standing.py",
        ("tests/store/test_standing.py", "tests/training/data/test_samples.py"),
        [
            ("hold-out: no picture is held out", 'CorrectionRow.side == "holdout"', 'CorrectionRow.side == "test"'),
            ("hold-out: a correction nobody accepted trains", '_newest_of("accepted")',
             '_newest_of("pending", "accepted")'),
            ("hold-out: a correction that waits is not shown", '_newest_of("pending", "accepted")',
             '_newest_of("accepted")'),
            ("hold-out: every accepted revision trains", "CorrectionRow.status.in_(wanted) & ~replaced",
             "CorrectionRow.status.in_(wanted)"),
            ("hold-out: the earlier of two corrections counts", "found[scan, bag][0] <= weight",
             "found[scan, bag][0] > weight"),
        ],
    ),
    *of_file(
        "training/data/samples.py",
        ("tests/training/data/test_samples.py",),
        [
            ("hold-out: a held-out picture trains in another bag", "or analysis.scan.id not in held_out", "or True"),
            ("hold-out: what is held out trains", 'if correction.split == "train":', "if True:"),
            ("split: every seed splits alike", 'f"{seed}:{bag}"', 'f"{bag}"'),
            ("split: nothing is split off", "min(max(wanted, 1), len(bags) - 1)", "min(wanted, len(bags) - 1)"),
            ("split: nothing is left", "min(max(wanted, 1), len(bags) - 1)", "max(wanted, 1)"),
            ("masking: what nobody looked for is taught as absent", "if label in looked_for})", "})"),
            ("masking: the model's word stands on what was looked for", "and found.name not in looked_for:", ":"),
        ],
    ),
]  # fmt: skip

MASKING = [
    *of_file(
        "training/data/collate.py",
        ("tests/training/data/test_collate.py",),
        [
            ("masking: the end of the turn is not taught", '["input_ids"], self._end]', '["input_ids"]]'),
            ("masking: a sample of the limit is refused", "> self.max_tokens:", ">= self.max_tokens:"),
            ("masking: a sample past the limit is taken", "> self.max_tokens:", "> self.max_tokens + 1:"),
            ("masking: the first token of the answer is not taught", "max(first - 1, 0)", "max(first, 0)"),
        ],
    ),
    *of_file(
        "xray_app/vlm/prompt.py",
        ("tests/vlm/test_prompt.py",),
        [
            ("masking: the question is taught", "[IGNORED] * len(p) + tail", "p + tail"),
            ("masking: the padding is taught", "rectangle(labels, IGNORED)", "rectangle(labels, pad_id)"),
            ("masking: the padding is attended to", "[[1] * len(row) for row in rows], 0)",
             "[[1] * len(row) for row in rows], 1)"),
            ("masking: serving begins with another prompt",
             "add_generation_prompt=True", "add_generation_prompt=False"),
            ("masking: serving pads on the right", 'if side == "left" else', 'if side == "right" else'),
        ],
    ),
]  # fmt: skip

SERVING: list[Mutant] = [
    *of_file(
        "xray_app/vlm/kept_answers.py",
        ("tests/vlm/test_kept_answers.py", "tests/vlm/test_lora_server.py"),
        [
            ("serving: a near-tie is a difference", "<= NEAR_TIE:", "< NEAR_TIE:"),
            ("serving: another text is the same",
             "return f\"“{_short(answer.text)}”", "return None and f\"“{_short(answer.text)}”"),
            ("serving: a text of another probability is the same", "apart > SAME_PROBABILITY", "apart > 1"),
            ("serving: any token may decide", "if start <= place < end or", "if end or"),
        ],
    ),
    *of_file(
        "xray_app/vlm/remote.py",
        ("tests/vlm/test_lora_server.py", "tests/vlm/test_answer_form.py"),
        [
            ("serving: an adapter without kept answers is taken", "if not read_kept", "if None is read_kept"),
            ("serving: with an adapter it is told the form", "self._form if adapter is None else None", "self._form"),
            ("serving: pictures go at the base's size",
             "self._shown if adapter is None else adapter.shown", "self._shown"),
            ("serving: a server that was started otherwise serves on", "if new:", "if False:"),
            ("serving: a lost adapter is not loaded again", "reloads < MOST_RELOADS", "reloads < 0"),
        ],
    ),
    *of_file(
        "xray_app/vlm/load.py",
        ("tests/vlm/test_answer_form.py",),
        [
            ("serving: a model trained in full is told the form",
             "is_file():\n        return True", "is_file():\n        return False"),
        ],
    ),
]  # fmt: skip

TRAINING: tuple[Mutant, ...] = (*GATE, *EVALUATION, *HOLDOUT, *MASKING, *SERVING)
