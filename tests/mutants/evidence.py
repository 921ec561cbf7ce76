"""Faults of the evidence: rules beside models, figures within groups, scores, thresholds, what searches teach."""

from __future__ import annotations

from tests.mutants.mutant import Mutant, of_file

FIGURES = [
    *of_file(
        "training/evaluation/baselines.py",
        ("tests/training/evaluation/test_baselines.py",),
        [
            ("rules: a bag chooses the rule it is judged by", "if its != fold]", "if True]"),
            ("rules: a class nobody looked for counts as absent",
             "(there * sought).sum(0) / np.maximum(sought.sum(0), 1)", "there.sum(0) / max(len(there), 1)"),
            ("rules: an unknown scanner gets no constant", "said[unknown] = constant[unknown]", "pass"),
            ("rules: the surest is the first in rank", "key=lambda label: -chances[label]", "key=taxonomy.rank"),
        ],
    ),
    *of_file(
        "training/evaluation/beside_rules.py",
        ("tests/training/evaluation/test_baselines.py",),
        [("rules: a tie is a win of the model", "best_rule[0] >= best_model[0]", "best_rule[0] > best_model[0]")],
    ),
    *of_file(
        "training/evaluation/stratified.py",
        ("tests/training/evaluation/test_stratified.py",),
        [
            ("within groups: pairs of all scanners are compared",
             "return [(self.groups == group) & self.threat_sought for group in sorted(set(self.groups))]",
             "return [self.threat_sought]"),
            ("within groups: ties count as won", "above.cumsum(1) + above / 2", "above.cumsum(1) + above"),
        ],
    ),
    *of_file(
        "training/evaluation/bootstrap.py",
        ("tests/training/evaluation/test_stratified.py", "tests/training/experiment/test_run.py"),
        [("intervals: seeds are not drawn anew", "random.multinomial(count, np.full(count, 1 / count), RESAMPLES)",
          "np.ones((RESAMPLES, count))")],
    ),
]  # fmt: skip

THRESHOLDS = [
    *of_file(
        "training/evaluation/tolerance.py",
        ("tests/training/evaluation/test_operating_point.py",),
        [
            ("thresholds: one miss more than the bound allows", "return misses if misses >= 0 else None",
             "return misses + 1 if misses >= 0 else None"),
            ("thresholds: too few threats promise all the same",
             "return None if misses is None else float(found[misses])", "return float(found[misses or 0])"),
        ],
    ),
    *of_file(
        "training/evaluation/operating_point.py",
        ("tests/training/evaluation/test_operating_point.py",),
        [
            ("thresholds: the promise is of scores of its own bags", '"threshold": threshold_at(fair, threat, recall),',
             '"threshold": threshold_at(probabilities(calibration, held_out.evidence), threat, recall),'),
            ("thresholds: a bag is scored by what it has taught", "held_out.evidence.rows(~own)", "held_out.evidence"),
            ("thresholds: the best found class limits", "worst = min(enough", "worst = max(enough"),
        ],
    ),
    *of_file(
        "training/evaluation/threat_score.py",
        ("tests/training/evaluation/test_threat_score.py",),
        [("thresholds: evidence against itself is taken", "if weight < 0]", "if weight < -1e9]")],
    ),
    *of_file(
        "xray_app/recall_watch.py",
        ("tests/test_recall_watch.py",),
        [
            ("watch: a good year buys a fall time", ", 0.0)", ", -1e9)"),
            ("watch: hits weigh nothing", "hit = math.log(self.fallen / self.held)", "hit = 0.0"),
        ],
    ),
    *of_file(
        "xray_app/risk.py",
        ("tests/test_analysis.py",),
        [
            ("thresholds: a score at the threshold is searched late", "score >= thresholds.search_from",
             "score >= thresholds.search_from + 0.02"),
            ("thresholds: a score is never reviewed", "score >= thresholds.review_from", "False"),
        ],
    ),
    *of_file(
        "xray_app/store/operating_points.py",
        ("tests/api/test_operating.py",),
        [
            ("thresholds: one withdrawn stays in force", 'if row.kind == "set"', "if True"),
            ("thresholds: the one for all goes before a scanner's own",
             "points.get(scanner_id or EVERYWHERE) or points.get(EVERYWHERE)",
             "points.get(EVERYWHERE) or points.get(scanner_id or EVERYWHERE)"),
        ],
    ),
    *of_file(
        "training/promotion/operating_points.py",
        ("tests/api/test_operating.py",),
        [
            ("thresholds: what was trained on counts", 'correction.split != "holdout" or', ""),
            ("thresholds: a bag half looked through is clear", "if found[bag] or sought_all[bag])", ")"),
        ],
    ),
]  # fmt: skip

SEARCHES = [
    *of_file(
        "training/data/samples.py",
        ("tests/training/data/test_samples.py",),
        [
            ("searches: a held-out bag teaches", 'if side == "train" and analysis.scan.id', "if analysis.scan.id"),
            ("searches: a cleared bag weighs as much as a searched one", "[sample] if searched else []", "[sample]"),
            ("searches: nothing found means nothing at all is there", "make_sample(picture, size, {}, (), prohibited,",
             "make_sample(picture, size, {}, (), None,"),
        ],
    ),
    *of_file(
        "xray_app/store/clear_bags.py",
        ("tests/training/data/test_samples.py",),
        [
            ("searches: a bag in which another search found something is clear",
             'or_(FactsRow.outcome == "found", _corrected', 'or_(FactsRow.outcome == "", _corrected'),
            ("clear bags: one person is two", "author.distinct()) > 1", "author.distinct()) > 0"),
            ("clear bags: who knew of the other counts", "DecisionRow.author == AnalysisRow.created_by,", ""),
            ("clear bags: one held for review is clear", 'DecisionRow.decision != "CLEAR", not', "False, not"),
        ],
    ),
]  # fmt: skip

VALIDATION = [
    *of_file(
        "xray_app/correction/bag_truth.py",
        ("tests/correction/test_bag_truth.py",),
        [
            ("truth: one person's word is enough", 'one.kind == "accepted" and (here', "(here"),
            ("truth: who looked for a class alone speaks for all", "(here or one.looked_for is None)", "True"),
            ("truth: a newer word does not wait", "twice and by_two and not waits", "twice and by_two"),
            ("truth: one view labelled is enough", "twice = twice and by_two", "twice = by_two"),
            ("truth: a search is no truth", "if searched or twice", "if twice"),
        ],
    ),
    *of_file(
        "xray_app/validation.py",
        ("tests/test_validation.py",),
        [
            ("validation: the bound is no bound", "beta.ppf(1 - LEVEL, found", "beta.ppf(0.5, found"),
            ("validation: a review counts as found", 'sum(one.level == "HIGH" for', 'sum(one.level != "LOW" for'),
            ("validation: it stops when it pleases", "enrolled < campaign.bags and now < campaign.ends_at", "False"),
            ("validation: unlabelled bags are left out", "    if evidence.waiting:", "    if False:"),
            ("validation: a handful of bags is enough", "evidence.bags < LEAST_BAGS and", "False and"),
            ("validation: a bound below the policy's is enough", "elif evidence.recall_low < evidence.wanted:",
             "elif (evidence.recall or 0) < evidence.wanted:"),
        ],
    ),
    *of_file(
        "xray_app/store/insights/validated_drift.py",
        ("tests/store/insights/test_validated_drift.py",),
        [
            ("drift: nothing has changed ever", 'if feature.change == "changed" and', "if False and"),
            ("drift: any move is a change", 'if feature.change == "changed" and', "if"),
            ("drift: chance is a change", "[:2])) < level", "[:2])) < 2"),
        ],
    ),
    *of_file(
        "xray_app/store/campaigns.py",
        ("tests/api/test_validation.py",),
        [
            ("campaign: other models' bags join", "if evidence.rests_on != row.rests_on:", "if False:"),
            ("campaign: a picture that was here before joins",
             "| (AnalysisRow.scan_id == scan.id)", ""),
            ("campaign: one person's label is accepted",
             "row is not None and session.get(CampaignEndRow, row.campaign_id) is None", "False"),
        ],
    ),
    *of_file(
        "xray_app/store/known_truths.py",
        ("tests/api/test_validation.py",),
        [
            ("watch: searches that the models caused count",
             "if bag_id is None or session.get(ControlDrawRow, bag_id) is None:", "if bag_id is None:"),
            ("watch: a bag counts as often as it is told",
             "if session.scalar(known.where(KnownTruthRow.bag_id == analysis.scan.bag_id).limit(1)) is not None:",
             "if False:"),
            ("watch: what is told withdraws nothing", "if watch.told:", "if False:"),
            ("watch: it begins anew at every bag", "last.watch if last else 0.0", "0.0"),
        ],
    ),
    *of_file(
        "xray_app/store/validations.py",
        ("tests/api/test_validation.py",),
        [("validation: one withdrawn holds", 'row is not None and row.kind == "signed"', "row is not None")],
    ),
]  # fmt: skip

EVIDENCE: tuple[Mutant, ...] = (*FIGURES, *THRESHOLDS, *SEARCHES, *VALIDATION)
