"""Answers as other models write them, of known content: lists, bold, prose, JSON, boxes, thoughts, denials."""

from __future__ import annotations

from collections import Counter

import pytest

from xray_app.report import parse_report
from xray_app.risk import assess
from xray_app.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy()

# Each with what a person reads in it; classes the taxonomy lacks (wallet, charger) are not counted.
STYLED: list[tuple[str, dict[str, int]]] = [
    # numbered, bulleted and bold lists
    ("1. Knife\n2. Laptop\n3. Water bottle", {"knife": 1, "laptop": 1, "plastic bottle": 1}),
    ("1) Gun - upper left corner\n2) Umbrella - bottom", {"gun": 1, "umbrella": 1}),
    ("**Detected items:**\n- **Scissors** (1)\n- **Phone** (2)", {"scissors": 1, "phone": 2}),
    ("Items:\n* 2 x lighters\n* 1 x power bank", {"lighter": 2, "power bank": 1}),
    ("### Items\n1. **Hammer**: a heavy tool with a wooden handle\n2. **Tablet**: flat device", {"hammer": 1, "tablet": 1}),
    ("- Wrench\n- Pliers\n- Screwdriver\n\nAll of these are tools.", {"wrench": 1, "pliers": 1, "screwdriver": 1}),
    ("• pistol\n• magazine\n• three bullets", {"gun": 1, "magazine": 1, "bullet": 3}),
    ("1. Laptop (high confidence)\n2. Mobile phone (medium confidence)", {"laptop": 1, "phone": 1}),
    ("Objects identified:\n\n1. **Handgun** – metallic, in the middle.\n2. **Can** – cylindrical.", {"gun": 1, "can": 1}),
    ("- Plastic bottle: 2\n- Nail polish: 1\n- Knife: 0", {"plastic bottle": 2, "nail polish": 1}),
    ("* Handcuffs: yes\n* Guns: no\n* Knives: none", {"handcuffs": 1}),
    ("Knife: not present\nScissors: present\nLighter: absent", {"scissors": 1}),
    ("1. one pair of scissors\n2. one glass bottle\n3. two cans", {"scissors": 1, "glass bottle": 1, "can": 2}),
    ("I. Axe\nII. Saw\n", {"axe": 1, "saw": 1}),
    ("a) baton\nb) pepper spray", {"baton": 1, "pepper spray": 1}),
    # the report's form, nearly
    ("Items detected: 2 small black folding knives, 1 silver laptop. Security risk: HIGH - knife detected.", {"knife": 2, "laptop": 1}),
    ("Items detected: knife x2, phone x1. Security risk: HIGH - knife detected.", {"knife": 2, "phone": 1}),
    ("Items detected: gun (1), bullet (6). Security risk: HIGH - gun detected.", {"gun": 1, "bullet": 6}),
    ("Items detected: knife: 1, tin: 3. Security risk: HIGH - knife detected.", {"knife": 1, "tin": 3}),
    ("Items detected: 1 large metal wrench and 1 long screwdriver. Security risk: HIGH", {"wrench": 1, "screwdriver": 1}),
    ("Detected items: laptop, phone, power bank. Risk level: LOW", {"laptop": 1, "phone": 1, "power bank": 1}),
    ("ITEMS DETECTED: 1 KNIFE (THREAT)\nSECURITY RISK: HIGH", {"knife": 1}),
    ("Items detected: none. Security risk: LOW - no threats detected.", {}),
    # prose
    ("The image shows a backpack with a laptop, two phones and what looks like a knife near the zip.", {"laptop": 1, "phone": 2, "knife": 1}),
    ("I can see a gun in the lower part of the bag. There is also an umbrella.", {"gun": 1, "umbrella": 1}),
    ("This X-ray reveals one pair of pliers, a hammer and several unidentified objects.", {"pliers": 1, "hammer": 1}),
    ("There appears to be a pair of scissors in the side pocket; the rest is clothing.", {"scissors": 1}),
    ("No prohibited items such as knives, guns or scissors were found. The bag holds a laptop.", {"laptop": 1}),
    ("I do not see any knife or gun. There is a tablet and a plastic bottle.", {"tablet": 1, "plastic bottle": 1}),
    ("The bag contains no weapons, but there is a lighter beside the phone.", {"lighter": 1, "phone": 1}),
    ("There are no guns in this bag; however, one knife is clearly visible.", {"knife": 1}),
    ("Knives are not visible. A glass bottle is.", {"glass bottle": 1}),
    ("The object at the top cannot be ruled out as a knife.", {"knife": 1}),
    ("Without doubt this is not only a laptop: a handgun lies beneath it.", {"laptop": 1, "gun": 1}),
    ("A can of deodorant can be seen, which I saw next to the umbrella.", {"can": 1, "umbrella": 1}),
    ("The lighter areas are organic. A power bank is at the bottom.", {"power bank": 1}),
    ("Nothing suspicious: clothes, shoes, a thermos flask.", {"vacuum cup": 1}),
    ("It isn't a knife but a screwdriver.", {"screwdriver": 1}),
    ("A wrench was found. A wrench of this size is prohibited.", {"wrench": 1}),
    ("Security personnel should check the firearm and the two cartridges.", {"gun": 1, "bullet": 2}),
    ("The scan is clear. No threats were detected.", {}),
    ("I'm sorry, but I can't help with identifying weapons.", {}),
    ("The suitcase contains three cans, four plastic bottles and a Swiss army knife.", {"can": 3, "plastic bottle": 4, "Swiss army knife": 1}),
    ("Threat: dagger. Non-threat: mobile phone.", {"dagger": 1, "phone": 1}),
    ("One (1) taser and twelve bullets.", {"stun gun": 1, "bullet": 12}),
    # JSON
    ('{"items": [{"label": "gun", "count": 2}, {"label": "laptop"}], "risk": "HIGH"}', {"gun": 2, "laptop": 1}),
    ('```json\n[{"bbox_2d": [4, 9, 60, 80], "label": "knife"}, {"bbox_2d": [1, 1, 9, 9], "label": "knife"}]\n```', {"knife": 2}),
    ('{"items": ["1 hammer", "2 phones"], "security_risk": "HIGH - hammer detected"}', {"hammer": 1, "phone": 2}),
    ('{"items": {"knife": 1, "tablet": 2, "gun": 0}}', {"knife": 1, "tablet": 2}),
    ('{"items": [], "risk": "LOW"}', {}),
    ('Here is the result:\n{"detections": [{"name": "Pistol", "confidence": 0.93}, {"name": "wallet"}]}', {"gun": 1}),
    ('{"objects": [{"object": "small folding knife", "quantity": 1}], "threats": ["knife"]}', {"knife": 1}),
    ('{"knife": {"present": false}, "items": [{"item": "scissors", "present": true}]}', {"scissors": 1}),
    ('{"items":[{"label":"lighter","count":3}],"note":"no knife was seen"}', {"lighter": 3}),
    ('```\n{"threats": [{"type": "axe"}], "items": [{"type": "axe"}, {"type": "umbrella"}]}\n```', {"axe": 1, "umbrella": 1}),
    # thoughts, parts, tables, other marks
    ("<think>Could be a gun? No, a phone.</think>Items detected: 1 phone. Security risk: LOW - no threats detected.", {"phone": 1}),
    ("Maybe a knife or a gun.</think>\n\n- umbrella", {"umbrella": 1}),
    ("<thinking>knife</thinking>\nThe bag holds one knife and one tin.", {"knife": 1, "tin": 1}),
    ("| item | count |\n|---|---|\n| knife | 1 |\n| phone | 2 |", {"knife": 1, "phone": 2}),
    ("Answer: *knife*, _laptop_, `umbrella`", {"knife": 1, "laptop": 1, "umbrella": 1}),
    ("Item 1: knife\nItem 2: gun\nItem 3: laptop", {"knife": 1, "gun": 1, "laptop": 1}),
    ("- Knife ✅\n- Gun ❌ not detected\n- Laptop ✅", {"knife": 1, "laptop": 1}),
    ("There is a knife.\n\nSummary: 1 knife. Recommendation: search the bag for the knife.", {"knife": 1}),
    ("Bottle 1: plastic bottle\nBottle 2: plastic bottle", {"plastic bottle": 2}),
    ("The threats: scissors & razor blade & box cutter.", {"scissors": 1, "razor blade": 1, "knife": 1}),
]  # fmt: skip


def counts_of(text: str) -> Counter[str]:
    return Counter({item.label: item.count for item in parse_report(text, TAXONOMY).items})


def test_answers_in_sixty_styles_are_read() -> None:
    assert len(STYLED) >= 60
    hits = said = true = 0
    wrong = []
    for text, expected in STYLED:
        found = counts_of(text)
        hits += (found & Counter(expected)).total()
        said += found.total()
        true += sum(expected.values())
        if found != Counter(expected):
            wrong.append((text, dict(found)))
    assert 2 * hits / (said + true) >= 0.95, wrong


@pytest.mark.parametrize(("text", "expected"), STYLED)
def test_no_threat_in_any_style_is_lost(text: str, expected: dict[str, int]) -> None:
    """Listed, it is HIGH; named beside a list, at least a MEDIUM that names it."""
    threats = {label for label in expected if TAXONOMY.resolve(label).status == "prohibited"}
    report = parse_report(text, TAXONOMY)
    assert threats <= {item.label for item in report.items} | set(report.mentioned)
    risk = assess(report, (), 0.0, True, TAXONOMY.policy())
    if threats:
        assert risk.level != "LOW"
        assert any(label in risk.reason for label in threats)
