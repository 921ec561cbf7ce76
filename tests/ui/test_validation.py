"""The validation part of the Thresholds tab: what it says, and what it refuses beside its fields."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from tests.validation_site import CLEAR_REDS, ValidatingSite
from xray_app import auth
from xray_app.errors import BadInput, Conflict, NotFound
from xray_app.types import Role
from xray_app.ui.guard import Guard
from xray_app.ui.validation import ValidationPart

BOSS = auth.Identity("boss", Role.ADMIN)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[ValidatingSite]:
    yield (made := ValidatingSite(tmp_path))
    made.services.db.close()


@pytest.fixture
def part(site: ValidatingSite) -> ValidationPart:
    with gr.Blocks():
        tab = gr.Tab("Thresholds")
        return ValidationPart(Guard(site.services), tab, gr.Dropdown(["A"]))


def said(part: ValidationPart, answer: dict[Any, Any]) -> str:
    return str(answer[part.said])


def begin(part: ValidationPart, scanner: Any = "A", reason: Any = "ready", bags: Any = 200, days: Any = 9) -> Any:
    return part.begin(BOSS, scanner, reason, bags, days, 0.2)


def test_it_says_what_to_do_before_anything_was_signed(part: ValidationPart, site: ValidatingSite) -> None:
    assert "no bag is advised to be cleared anywhere" in said(part, part.show(BOSS, "A"))
    assert "Demonstration models" not in said(part, part.show(BOSS, "A"))
    part.services = site.services
    site.change(vlm="bundled")
    part.services = site.services
    assert "Demonstration models" in said(part, part.show(BOSS, "A"))
    with pytest.raises(Conflict, match="demonstration"):
        begin(part)


def test_a_campaign_shows_its_progress_and_why_it_cannot_be_signed(part: ValidationPart, site: ValidatingSite) -> None:
    assert "Campaign on A, opened by boss" in said(part, begin(part))
    site.told(site.taken(CLEAR_REDS[0]), "eye")
    page = said(part, part.show(BOSS, "A"))
    assert "1 of 200 bags have come in, 0 are labelled by two people" in page
    assert "Cannot be signed yet." in page
    assert "1 bags are not labelled by two people yet." in page
    with pytest.raises(Conflict, match="the number was fixed"):
        part.put(BOSS, "A", "now")
    assert "Campaign" not in said(part, part.show(BOSS, ""))
    assert "Ended, cancelled by boss" in said(part, part.end(BOSS, "A", "wrong belt"))
    with pytest.raises(Conflict, match="ended"):
        part.end(BOSS, "A", "again")


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"scanner": ""}, "choose it above"),
        ({"scanner": 7}, "from the list"),
        ({"reason": " "}, "Say why"),
        ({"bags": 199}, "from 200 to 100,000"),
        ({"bags": "many"}, "from 200"),
        ({"bags": True}, "from 200"),
        ({"days": 0}, "from 1 to 365"),
        ({"days": 366}, "from 1 to 365"),
        ({"days": None}, "from 1 to 365"),
    ],
)
def test_what_cannot_be_is_refused(part: ValidationPart, wanted: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        begin(part, **wanted)


def test_there_is_nothing_to_sign_or_take_back_before_a_campaign(part: ValidationPart) -> None:
    for act in (part.put, part.end):
        with pytest.raises(NotFound, match="No campaign was opened for A"):
            act(BOSS, "A", "why not")
    with pytest.raises(BadInput, match="No validation of A is signed"):
        part.take_back(BOSS, "A", "why not")
