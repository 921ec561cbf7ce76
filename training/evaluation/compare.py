"""Compares models on the same labelled scans: the report of one pair, and one table for many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.data.samples import Sample, with_full_instruction
from training.data.training_record import TrainingRecord, read_training_record
from training.evaluation.bag_table import BagTable
from training.evaluation.baselines import RULES, rules_of
from training.evaluation.beside_rules import caption, won_by_rules
from training.evaluation.bootstrap import Rate, paired_difference, rates, ratio
from training.evaluation.evaluate import (
    DetectorEvaluated,
    Evaluated,
    evaluate_detector,
    evaluate_vlm,
    fuse,
    report,
)
from training.evaluation.map_interval import map_rates
from training.evaluation.mean_average_precision import ignore_unboxed_classes, in_labelled_classes
from training.evaluation.report_page import cell
from training.evaluation.stratified import BagScores, scores_of, within_groups
from training.evaluation.threat_score import (
    by_bags,
    evidence_of_answers,
    evidence_of_boxes,
    refuse_shared,
    threat_scores,
    with_calibration,
)
from xray_app.detector.load import load_detector
from xray_app.errors import BadInput
from xray_app.settings import Settings
from xray_app.taxonomy import Taxonomy
from xray_app.vlm.load import load_vlm
from xray_app.vlm.local import LocalVlm


def evaluate_models(
    samples: Sequence[Sample],
    settings: Settings,
    taxonomy: Taxonomy,
    adapter: Path | None = None,
    calibration: Sequence[Sample] | None = None,
    recall: float | None = None,
    train: Sequence[Sample] | None = None,
) -> dict[str, Any]:
    """`report.json` of the VLM (with an adapter, if given) and the detector that `settings` name.

    Either may be "none" and is then left out.

    Args:
        samples: labelled scans.
        settings: name the models.
        taxonomy: names the classes.
        adapter: a PEFT folder.
        calibration: scans to calibrate the threat score on; None takes half of the bags of `samples`, and
            reports the score on the other half. Every other figure is of all `samples`.
        recall: share of threat bags its threshold is to find; None is the default profile's.
        train: scans to choose the baselines on; None takes parts of `samples` in turn.

    Raises:
        BadInput: neither model, a recall that cannot be, or calibration or training scans that are among `samples`.
    """
    rules = taxonomy.rules()  # the default profile, at whatever desk: reports are compared with each other
    wanted = rules.policy.recall if recall is None else recall
    if not 0 < wanted < 1:
        raise BadInput(f"The recall to aim at lies between 0 and 1, not at {wanted:g}.")
    everything, kept_bags = with_calibration(samples, calibration)
    if train is not None:
        refuse_shared(samples, train, "training")
    vlm = found = as_desk = None
    names: dict[str, Any] = {}
    evidence: dict[str, list[float]] = {}
    if settings.vlm != "none":
        model = load_vlm(settings, taxonomy)
        model.use_adapter(adapter)
        vlm = evaluate_vlm(model, samples, taxonomy)
        if (whole := with_full_instruction(samples)) != list(samples):
            as_desk = evaluate_vlm(model, whole, taxonomy)
        names["vlm"] = {
            "name": model.name,
            "sha256": model.weights_sha256,
            "adapter": None if adapter is None else str(adapter),
        }
        of_more = evaluate_vlm(model, everything[len(samples) :], taxonomy)
        evidence["vlm"] = evidence_of_answers(model, everything, (vlm, of_more), taxonomy)
    if settings.detector != "none":
        detector = load_detector(settings, taxonomy)
        found = evaluate_detector(detector, samples, taxonomy)
        names["detector"] = {"name": detector.name, "sha256": detector.sha256}
        more = evaluate_detector(detector, everything[len(samples) :], taxonomy)
        evidence["detector"] = evidence_of_boxes((*found.detections, *more.detections), everything, taxonomy)
    if not names:
        raise BadInput("There is nothing to measure: neither a VLM nor a detector was named.")
    result = report(
        samples,
        rules,
        vlm,
        found,
        lambda: detector_map(samples, found, taxonomy),
        threat={name: of_all[: len(samples)] for name, of_all in evidence.items()},
        train=train,
        vlm_as_desk=as_desk,
    )
    if evidence:
        kept_back, reported = by_bags(everything, evidence, kept_bags, taxonomy)
        result["threat_score"] = threat_scores(kept_back, reported, wanted)
    return {**result, "models": names, "taxonomy_sha256": taxonomy.sha256}


def detector_map(samples: Sequence[Sample], found: DetectorEvaluated | None, taxonomy: Taxonomy) -> tuple[Rate, Rate]:
    """mAP50 and mAP50-95 over the labelled classes of each scan, without those of which an item has no box: nobody
    can say which of their boxes are right."""
    if found is None:
        return Rate(None, None), Rate(None, None)
    predictions, truths = in_labelled_classes(ignore_unboxed_classes(samples, taxonomy), found.detections)
    return map_rates(predictions, truths, [sample.bag_id for sample in samples])


@dataclass(frozen=True)
class ComparedModel:
    """One model, or two together: a row of the comparison.

    Attributes:
        model: what to call it.
        outcomes: over the scans all rows share.
        scores: of the same.
        seconds_per_scan: wall time, in batches as the evaluation asks.
        trained: what its trainings took, as far as that is known.
        remote: answers come from another server, which has its own price.
        rule: no model, but a rule that sees nothing of the content.
    """

    model: str
    outcomes: BagTable
    scores: BagScores
    seconds_per_scan: float
    trained: tuple[TrainingRecord, ...] = ()
    remote: bool = False
    rule: bool = False


@dataclass(frozen=True)
class Prices:
    """US dollars: an hour of the machine that trains and answers, and a scan answered by a remote model."""

    machine_hour: float | None = None
    remote_scan: float | None = None

    def training(self, row: ComparedModel) -> float | None:
        if self.machine_hour is None or not row.trained:
            return None
        return self.machine_hour * sum(one.seconds for one in row.trained) / 3600

    def thousand_scans(self, row: ComparedModel) -> float | None:
        if row.remote:
            return None if self.remote_scan is None else self.remote_scan * 1000
        return None if self.machine_hour is None else self.machine_hour * row.seconds_per_scan * 1000 / 3600


def comparison(
    samples: Sequence[Sample],
    taxonomy: Taxonomy,
    vlms: Sequence[str],
    adapters: Sequence[Path],
    detectors: Sequence[str],
    together: bool = True,
    train: Sequence[Sample] | None = None,
) -> Iterator[ComparedModel]:
    """Each VLM, each adapter on the first of them, and each detector, on the same scans, as they are measured.

    Then each VLM together with the last detector: the larger count and confidence of each label. "none" leaves
    a kind out. At last the rules that see nothing of the content, chosen on `train` as in `baselines.rules_of`.

    Raises:
        BadModel: one of them does not load; the rows before it have been given by then.
    """
    settings = Settings()
    rules = taxonomy.rules()
    read: list[tuple[ComparedModel, Evaluated]] = []
    for place, name in enumerate(name for name in vlms if name != "none"):
        model = load_vlm(settings.model_copy(update={"vlm": name}), taxonomy)
        for adapter in (None, *adapters) if place == 0 else (None,):
            model.use_adapter(adapter)
            result = evaluate_vlm(model, samples, taxonomy)
            record = read_training_record(adapter or Path(name))
            row = ComparedModel(
                model.name if adapter is None else f"{model.name} + {adapter}",
                BagTable.of(result.outcomes, rules),
                scores_of(samples, result.outcomes, None, taxonomy),
                result.seconds_per_scan,
                () if record is None else (record,),
                remote=not isinstance(model, LocalVlm),
            )
            read.append((row, result))
            yield row
    last: tuple[ComparedModel, Evaluated] | None = None
    for name in detectors:
        if name != "none":
            detector = load_detector(settings.model_copy(update={"detector": name}), taxonomy)
            found = evaluate_detector(detector, samples, taxonomy)
            record = read_training_record(Path(name)) if name != "bundled" else None
            row = ComparedModel(
                f"{detector.name if name == 'bundled' else name} (detector)",
                BagTable.of(found.outcomes, rules),
                scores_of(samples, found.outcomes, None, taxonomy),
                found.seconds_per_scan,
                () if record is None else (record,),
            )
            last = row, found
            yield row
    if together and last is not None:
        boxes, found_by_it = last
        for row, answers in read:
            both = fuse(answers.outcomes, found_by_it.outcomes)
            yield ComparedModel(
                f"{row.model}, together with {boxes.model}",
                BagTable.of(both, rules),
                scores_of(samples, both, None, taxonomy),
                row.seconds_per_scan + boxes.seconds_per_scan,
                (*row.trained, *boxes.trained),
                row.remote,
            )
    for name, one in rules_of(samples, train, taxonomy).items():
        scored = BagScores.of(samples, one.presence, one.threat, taxonomy)
        yield ComparedModel(RULES[name], BagTable.of(one.outcomes, rules), scored, 0.0, rule=True)


COMPARED = {
    "top1": "top-1",
    "item_f1": "item F1",
    "exact_list": "exact list",
    "threat_bag_recall": "threat-bag recall",
    "false_alarm_rate": "false alarms",
}


WITHIN = {"threat_auroc": "threat within groups (AUROC)", "presence_auroc": "classes within groups (AUROC)"}
"""Chance that a bag that holds it scores above one of the same group that does not."""


def table(rows: Sequence[ComparedModel], prices: Prices | None = None) -> str:
    """Markdown, each rate with its 95 % interval; then each row's difference to the first, on the same bags."""
    facts = as_json(rows, prices or Prices())
    prices_known = any(one["training_dollars"] or one["dollars_per_1000_scans"] for one in facts)
    last = ["s per scan", "training min", *(["training $", "$ per 1000 scans"] if prices_known else [])]
    lines = [*_header(["model", *COMPARED.values(), *WITHIN.values(), *last])]
    for row, one in zip(rows, facts, strict=True):
        seconds = "–" if row.rule else f"{row.seconds_per_scan:.3f}"
        cells = [cell(one, name) for name in (*COMPARED, *WITHIN)] + [seconds, _minutes(row)]
        if prices_known:
            cells += [_money(one["training_dollars"]), _money(one["dollars_per_1000_scans"])]
        lines.append(f"| {row.model} | {' | '.join(cells)} |")
    by_kind = [{one["model"]: one for row, one in zip(rows, facts, strict=True) if row.rule == kind} for kind in (1, 0)]
    if all(by_kind):
        lines += ["", caption(won_by_rules(*by_kind))]
    if len(facts) > 1:
        lines += ["", f"Differences to {rows[0].model}, on the same bags:", ""]
        lines += _header(["model", *COMPARED.values()])
        for one in facts[1:]:
            lines.append(f"| {one['model']} | {' | '.join(_signed(one['difference'], name) for name in COMPARED)} |")
    return "\n".join(lines)


def as_json(rows: Sequence[ComparedModel], prices: Prices) -> list[dict[str, Any]]:
    """A row a model: its rates, what it takes, and `difference` to the first by paired bootstrap over bags."""
    found: list[dict[str, Any]] = []
    for row in rows:
        parts, first = row.outcomes.parts(), rows[0].outcomes.parts()
        within = within_groups(row.scores)
        found.append(
            {
                "model": row.model,
                "rule": row.rule,
                **rates(**{name: ratio(*parts[name]) for name in COMPARED}),
                **{
                    f"{name}_auroc{end}": within[f"{name}{end}"]
                    for name in ("threat", "presence")
                    for end in ("", "_ci")
                },
                "seconds_per_scan": row.seconds_per_scan,
                "trained": [one.model_dump() for one in row.trained],
                "training_dollars": prices.training(row),
                "dollars_per_1000_scans": prices.thousand_scans(row),
            }
        )
        if row is not rows[0]:
            if row.outcomes.bags != rows[0].outcomes.bags:
                raise ValueError("a paired comparison needs the same bags in the same order")
            found[-1]["difference"] = rates(**{name: paired_difference(first[name], parts[name]) for name in COMPARED})
    return found


def _header(titles: Sequence[str]) -> list[str]:
    return [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]


def _minutes(row: ComparedModel) -> str:
    """A training that was resumed took at least this long."""
    if not row.trained:
        return "–"
    least = "≥ " if any(one.resumed for one in row.trained) else ""
    return f"{least}{sum(one.seconds for one in row.trained) / 60:.1f}"


def _money(dollars: float | None) -> str:
    return "–" if dollars is None else f"{dollars:.2f}" if dollars >= 0.1 else f"{dollars:.4f}"


def _signed(figures: Mapping[str, Any], name: str) -> str:
    value, ci = figures[name], figures[f"{name}_ci"]
    return "–" if value is None else f"{value:+.3f} ({ci[0]:+.2f} to {ci[1]:+.2f})"
