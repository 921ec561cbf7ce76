"""`evaluate` and `compare` ask every model for the report in the form that it knows or was told, as the desk does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from tests.tiny_families import save_family
from tests.vlm.scripted_server import Asked, Reply, completion, serving
from training.data.samples import Sample, make_sample
from training.evaluation.compare import comparison, evaluate_models
from xray_app.report import format_report, instruction
from xray_app.settings import BUNDLED_VLM, Settings
from xray_app.taxonomy import Taxonomy
from xray_app.vlm.answer_form import answer_form
from xray_app.vlm.base import Answer
from xray_app.vlm.local import LocalVlm


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def samples(tmp_path: Path, taxonomy: Taxonomy) -> list[Sample]:
    """Two bags with a knife, of which one was searched for knives alone."""
    path = tmp_path / "scan.png"
    Image.new("RGB", (64, 48)).save(path)
    scopes = (None, ["knife"])
    return [make_sample(path, (64, 48), {"knife": 1}, [], scope, f"bag {scope}", taxonomy) for scope in scopes]


class Untrained:
    """Answers as asked: JSON where it is told JSON, the report text where that, and prose where nothing."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        self.form = answer_form(taxonomy, boxes=False)
        self.report = format_report({"knife": 1}, taxonomy)
        self.words: list[str] = []

    def __call__(self, asked: Asked) -> Reply:
        self.words.append(asked.body["messages"][0]["content"][1]["text"])
        if self.form.json_words in self.words[-1]:
            return Reply(200, completion(json.dumps({"items": [{"label": "knife", "count": 1}], "risk": "HIGH"})))
        return Reply(200, completion(self.report if self.form.words in self.words[-1] else "A handbag on a belt."))


def test_an_untrained_model_is_scored_for_what_it_sees_and_not_for_its_style(
    samples: list[Sample], taxonomy: Taxonomy
) -> None:
    untrained = Untrained(taxonomy)
    with serving(untrained) as server:
        settings = Settings(_env_file=None, vlm=f"openai:org/m@{server.url}", detector="none")
        result = evaluate_models(samples, settings, taxonomy)
    assert (result["vlm"]["item_f1"], result["vlm"]["exact_list"]) == (1.0, 1.0)
    asked = [instruction(), instruction(["knife"], taxonomy)]
    asked += [instruction()] * 2  # and as the desk asks
    assert sorted(untrained.words) == sorted(f"{one}\n\n{untrained.form.json_words}" for one in asked)


def test_compare_asks_the_trained_one_as_it_was_trained(samples: list[Sample], taxonomy: Taxonomy) -> None:
    """The one on the left of the table is told the form, the one that knows it is not."""
    untrained, trained = Untrained(taxonomy), Untrained(taxonomy)
    with serving(untrained) as one, serving(trained) as other:
        names = [f"openai:org/m@{one.url}", f"openai:{BUNDLED_VLM}@{other.url}"]
        list(comparison(samples, taxonomy, names, [], ["none"]))
    assert all(untrained.form.json_words in words for words in untrained.words)
    assert sorted(trained.words) == sorted([instruction(), instruction(["knife"], taxonomy)])


def test_a_local_base_model_is_held_to_the_form_by_both(
    samples: list[Sample], taxonomy: Taxonomy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_family("llava_next", tmp_path / "base", seed=1)
    texts: list[str] = []
    answer = LocalVlm.answer

    def listening(
        vlm: LocalVlm, images: Sequence[Image.Image], instructions: Sequence[str], drafts: object = None
    ) -> list[Answer]:
        answers = answer(vlm, images, instructions)
        texts.extend(one.text for one in answers)
        return answers

    monkeypatch.setattr(LocalVlm, "answer", listening)
    evaluate_models(samples, Settings(_env_file=None, vlm=str(folder), detector="none"), taxonomy)
    list(comparison(samples, taxonomy, [str(folder)], [], ["none"]))
    assert len(texts) == 3 * len(samples)
    assert all(text.strip().startswith('{"items": [') for text in texts), "with random weights it would babble"
