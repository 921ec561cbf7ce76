"""The report text, both ways: strict writing, total reading."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_app.errors import BadInput, UnknownLabel
from xray_app.report import (
    INSTRUCTION,
    format_report,
    instruction,
    parse_entries,
    parse_report,
)
from xray_app.risk import assess
from xray_app.taxonomy import load_taxonomy
from xray_app.types import Status

TAXONOMY = load_taxonomy()
COUNTS = st.dictionaries(st.sampled_from(TAXONOMY.names), st.integers(1, 99), max_size=12)
CONTRACT = {
    "Items detected: 1 knife (threat), 2 plastic bottles, 1 laptop. Security risk: HIGH - knife detected.": {
        "laptop": 1,
        "knife": 1,
        "plastic bottle": 2,
    },
    "Items detected: 2 knives (threat), 1 gun (threat), 1 lighter (restricted). "
    "Security risk: HIGH - knife, gun detected.": {"lighter": 1, "gun": 1, "knife": 2},
    "Items detected: 1 lighter (restricted), 1 power bank. Security risk: MEDIUM - lighter detected.": {
        "power bank": 1,
        "lighter": 1,
    },
    "Items detected: none. Security risk: LOW - no threats detected.": {},
}
SEED_EXAMPLE = "Items detected: 2 plastic bottles, 1 laptop, 1 knife (threat). Security risk: HIGH - knife detected."


def counts_of(text: str) -> dict[str, int]:
    return {item.label: item.count for item in parse_report(text, TAXONOMY).items}


@pytest.mark.parametrize(("text", "counts"), CONTRACT.items())
def test_the_contracts_examples_word_for_word(text: str, counts: dict[str, int]) -> None:
    assert format_report(counts, TAXONOMY) == text
    report = parse_report(text, TAXONOMY)
    assert report.complete
    assert report.unrecognised == ()
    assert counts_of(text) == counts


def test_the_seed_documents_own_example() -> None:
    report = parse_report(SEED_EXAMPLE, TAXONOMY)
    assert report.complete
    assert [(i.label, i.count, i.threat) for i in report.items] == [
        ("knife", 1, True),
        ("plastic bottle", 2, False),
        ("laptop", 1, False),
    ]


@settings(max_examples=100, deadline=None)
@given(COUNTS)
def test_what_is_written_is_read_back(counts: dict[str, int]) -> None:
    text = format_report(counts, TAXONOMY)
    parsed = parse_entries(text, TAXONOMY)
    assert parsed.complete
    assert {entry.label: entry.count for entry in parsed.entries} == counts
    ranks = [TAXONOMY.rank(entry.label) for entry in parsed.entries]
    assert ranks == sorted(ranks)
    for entry in parsed.entries:
        assert TAXONOMY.resolve(text[entry.start : entry.end]).name == entry.label


@settings(max_examples=100, deadline=None)
@given(COUNTS)
def test_what_is_read_is_written_again(counts: dict[str, int]) -> None:
    text = format_report(counts, TAXONOMY)
    assert format_report(counts_of(text), TAXONOMY) == text


@settings(max_examples=100, deadline=None)
@given(COUNTS, st.data())
def test_an_answer_cut_off_anywhere_is_incomplete(counts: dict[str, int], data: st.DataObject) -> None:
    text = format_report(counts, TAXONOMY)
    # Without the last full stop nothing is missing.
    cut = text[: data.draw(st.integers(0, len(text) - 2))]
    report = parse_report(cut, TAXONOMY)
    assert not report.complete
    assert all(item.count <= counts.get(item.label, 99) for item in report.items if item.label in counts)


GRAMMAR_WORDS = st.sampled_from(
    [
        "Items detected:",
        "Security risk:",
        "HIGH - ",
        "LOW - no threats detected.",
        ", ",
        "1 ",
        "99 ",
        "-1 ",
        "knife",
        "none",
        "knives",
        " (threat)",
        "\n",
        ". ",
        " and ",
        "a ",
        "gun",
        "detected",
        "\ud800",
        "\0",
        "İ",
        "(",
        "risk:",
        "Ⅷ ",
        "² ",
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(), st.lists(GRAMMAR_WORDS, max_size=30).map("".join)))
def test_any_string_gives_a_report(text: str) -> None:
    parsed = parse_entries(text, TAXONOMY)
    for entry in parsed.entries:
        assert TAXONOMY.resolve(text[entry.start : entry.end]).name == entry.label
        assert 1 <= entry.count <= 99
    report = parse_report(text, TAXONOMY, {0: 0.5, 1: float("nan"), 2: 7.0})
    assert report.complete == parsed.complete
    assert len(report.text) == len(text)
    report.model_dump_json()


@pytest.mark.parametrize(
    "text",
    [
        "Items detected: 1 laptop, 1 Knife (THREAT). Security risk: HIGH - knife detected.",
        "items detected: 1 KNIFE, 1 Laptop. security risk: high - Knife detected",
        "Security risk: HIGH - knife detected. Items detected: a laptop, one knife.",
        "Items detected: 1 laptop and a penknife. Security risk: HIGH - knife detected.",
        "Items detected:\n- knife\n- laptop\nSecurity risk: HIGH – knives detected.",
        "**Items detected:** 1x knife, 1 x laptop computers. **Security risk:** HIGH - knife detected.",
    ],
)
def test_other_wordings_of_the_same_answer(text: str) -> None:
    report = parse_report(text, TAXONOMY)
    assert counts_of(text) == {"knife": 1, "laptop": 1}
    assert report.complete


@pytest.mark.parametrize(
    ("text", "counts", "kept"),
    [
        ("", {}, ()),
        ("The bag is fine.", {}, ("The bag is fine",)),
        ("a knife and two guns", {"knife": 1, "gun": 2}, ()),
        ("Items detected: 1 knife (thr", {"knife": 1}, ("1 knife (thr",)),
        ("Items detected: 1 knife (threat), ", {"knife": 1}, ()),
        ("Items detected: 1 knife. Security risk: HIGH - kni", {"knife": 1}, ("HIGH - kni",)),
        ("Items detected: . Security risk: LOW - no threats detected.", {}, ()),
        (
            "Items detected: 1 teapot, 1 can. Security risk: LOW - no threats detected.",
            {"can": 1},
            ("1 teapot",),
        ),
        ("Items detected: 0 cans. Security risk: LOW - no threats detected.", {}, ("0 cans",)),
        ("Items detected: -1 can. Security risk: LOW - no threats detected.", {}, ("-1 can",)),
        ("Items detected: 100 cans. Security risk: LOW - no threats detected.", {}, ("100 cans",)),
        (
            "Items detected: 1000000000 cans. Security risk: LOW - no threats detected.",
            {},
            ("1000000000 cans",),
        ),
        ("Items detected: cans. Security risk: LOW - no threats detected.", {"can": 1}, ("cans",)),
        ("Items detected: none, 1 can. Security risk: LOW - no threats detected.", {"can": 1}, ("none",)),
        ("Items detected: none. Security risk: LOW - no threats detected. Sorry!", {}, ("Sorry!",)),
        ("Sure: Items detected: none. Security risk: LOW - no threats detected.", {}, ("Sure:",)),
        ("Items detected: none. Security risk: PURPLE.", {}, ("PURPLE.",)),
    ],
)
def test_what_is_not_understood_is_kept(text: str, counts: dict[str, int], kept: tuple[str, ...]) -> None:
    report = parse_report(text, TAXONOMY)
    assert not report.complete
    assert counts_of(text) == counts
    assert report.unrecognised == kept
    assert report.text == text


@pytest.mark.parametrize(
    "text",
    [
        "Items detected: none. Security risk: HIGH - knife detected.",
        "Items detected: 1 gun (threat). Security risk: HIGH - knife detected.",
        "Items detected: 1 laptop. Security risk: HIGH - laptop detected.",
        "Items detected: 1 laptop (threat). Security risk: LOW - no threats detected.",
        "Items detected: 1 lighter (restricted). Security risk: HIGH - lighter detected.",
    ],
)
def test_a_risk_beyond_the_items_listed_is_not_trusted(text: str) -> None:
    assert not parse_report(text, TAXONOMY).complete


def test_a_risk_short_of_the_items_listed_is_harmless() -> None:
    text = "Items detected: 1 gun. Security risk: LOW - no threats detected."
    report = parse_report(text, TAXONOMY)
    assert report.complete
    assert report.items[0].threat


def test_an_answer_said_twice_keeps_all_items_and_is_incomplete() -> None:
    text = format_report({"can": 1}, TAXONOMY) + " " + format_report({"gun": 1}, TAXONOMY)
    assert counts_of(text) == {"gun": 1, "can": 1}
    assert not parse_report(text, TAXONOMY).complete
    two_lists = "Items detected: 1 can. Items detected: 1 gun. Security risk: HIGH - gun detected."
    assert counts_of(two_lists) == {"gun": 1, "can": 1}
    assert not parse_report(two_lists, TAXONOMY).complete
    two_risks = "Items detected: 1 gun. Security risk: HIGH - gun detected. Security risk: HIGH - gun detected."
    assert not parse_report(two_risks, TAXONOMY).complete


def test_of_a_threat_said_twice_the_higher_confidence_counts() -> None:
    text = "Items detected: 1 knife (threat), 1 knife (threat). Security risk: HIGH - knife detected."
    report = parse_report(text, TAXONOMY, {0: 0.9, 1: 0.2})
    assert [(item.label, item.count, item.confidence) for item in report.items] == [("knife", 2, 0.9)]
    assert assess(report, (), 0.0, True, TAXONOMY.policy()).level == "HIGH"
    assert parse_report(text, TAXONOMY, {0: 0.2, 1: 0.9}).items[0].confidence == 0.9


def test_of_other_labels_said_twice_the_lower_confidence_counts() -> None:
    text = "Items detected: 60 cans, 60 drink cans, 1 tin. Security risk: LOW - no threats detected."
    report = parse_report(text, TAXONOMY, {0: 0.9, 1: 0.7})
    assert [(i.label, i.count, i.confidence) for i in report.items] == [("can", 99, 0.7), ("tin", 1, None)]
    assert report.items[0].status is Status.ALLOWED


def test_an_unfinished_answer_is_never_complete() -> None:
    assert not parse_report(SEED_EXAMPLE, TAXONOMY, finished=False).complete


@pytest.mark.parametrize(
    "text",
    [
        "1 knife, " * 110_000,
        "security" + " " * 1_000_000,
        "items" + "\n" * 500_000 + "detected" + " " * 500_000,
        "risk: HIGH " * 90_000,
        "1" * 1_000_000,
        "*" * 1_000_000,
        "\n- " * 330_000,
        "a" * 199 + " and " * 200_000,
        "Items detected: " + "(threat" * 140_000,
    ],
    ids=lambda text: repr(text[:12]),
)
def test_a_megabyte_of_nonsense_is_read_quickly(text: str) -> None:
    start = time.process_time()  # of the processor: other work on the machine does not count
    report = parse_report(text, TAXONOMY)
    assert time.process_time() - start < 5
    assert not report.complete
    assert len(report.unrecognised) <= 101


def test_writing_is_strict() -> None:
    for count in (0, -1, 100, 10**9):
        with pytest.raises(BadInput):
            format_report({"can": count}, TAXONOMY)
    with pytest.raises(BadInput):
        format_report({"can": 60, "Cans": 60}, TAXONOMY)
    with pytest.raises(UnknownLabel):
        format_report({"teapot": 1}, TAXONOMY)


def test_the_instruction() -> None:
    assert instruction() == INSTRUCTION
    assert instruction(["knife", "scissors"]) == INSTRUCTION + " Report only: knife, scissors."
    scoped = instruction(["SprayCans", "Scissor", "knives", "knife"], TAXONOMY)
    assert scoped == INSTRUCTION + " Report only: knife, scissors, pressurised can."
    with pytest.raises(UnknownLabel):
        instruction(["teapot"], TAXONOMY)
    with pytest.raises(BadInput):
        instruction([])


def test_a_threat_named_beside_the_list_is_mentioned_and_not_listed() -> None:
    report = parse_report("Items detected: 1 laptop. Security risk: HIGH - knife detected.", TAXONOMY)
    assert [item.label for item in report.items] == ["laptop"]
    assert (report.mentioned, report.claimed) == (("knife",), "HIGH")
    risk = assess(report, (), 0.0, True, TAXONOMY.policy())
    assert (risk.level, risk.action) == ("MEDIUM", "REVIEW")
    assert "knife mentioned (VLM)" in risk.reason


@pytest.mark.parametrize(
    ("text", "claimed"),
    [
        ("Risk level: HIGH.", "HIGH"),
        ("Items detected: none. Security risk: LOW - no threats detected.", "LOW"),
        ("This is a high-risk bag.", "HIGH"),
        ("I see no high risk here.", None),
        ("The overall threat level is moderate.", "MEDIUM"),
        ("The bag is on a high shelf.", None),
    ],
)
def test_the_level_an_answer_claims(text: str, claimed: str | None) -> None:
    assert parse_report(text, TAXONOMY).claimed == claimed


def test_an_answer_that_rates_the_bag_high_without_saying_why_is_reviewed_for_that() -> None:
    risk = assess(parse_report("Security risk: HIGH", TAXONOMY), (), 0.0, True, TAXONOMY.policy())
    assert risk.level == "MEDIUM"
    assert "VLM rates the bag HIGH" in risk.reason


def test_a_thought_that_never_ends_is_no_answer() -> None:
    report = parse_report("<think>1 knife, 1 gun", TAXONOMY)
    assert (report.items, report.mentioned, report.complete) == ((), (), False)
