"""What a server answers instead of a report: errors within a 200, refusals, nothing, thoughts, half an answer."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tiny import picture, taxonomy
from tests.vlm.scripted_server import Reply, Script, completion, serving
from xray_app.errors import ModelUnavailable
from xray_app.report import ONLY_THOUGHT, instruction
from xray_app.risk import assess
from xray_app.settings import Settings
from xray_app.types import Report
from xray_app.vlm.base import CUT_OFF, Answer
from xray_app.vlm.completion import read_completion
from xray_app.vlm.load import load_vlm
from xray_app.vlm.openai_server import ATTEMPTS, CallFailed, OpenAiServer
from xray_app.vlm.reading import read_answer

TEXT = "Items detected: 1 knife (threat). Security risk: HIGH - knife detected."
WHOLE = "Items detected: 1 knife (threat), 2 plastic bottles. Security risk: HIGH - knife detected."


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def ask(script: Script) -> Answer:
    vlm = load_vlm(Settings(_env_file=None, vlm=f"openai:org/m@{script.url}"), taxonomy())
    return vlm.answer([picture()], [instruction()])[0]


def answer_in(document: Any) -> Answer:
    return read_completion(json.dumps(document))


def report_in(document: Any) -> Report:
    return read_answer(answer_in(document), taxonomy())


def reason_of(report: Report) -> str:
    return assess(report, (), 0.0, True, taxonomy().policy()).reason


@pytest.mark.parametrize(
    ("body", "words", "asked"),
    [
        ({"error": {"message": "the model is overloaded", "code": 503}}, "(503): the model is overloaded", ATTEMPTS),
        ({"error": {"message": "no such model", "code": "model_not_found"}}, "with an error: no such model", 1),
        ({"error": {"message": "bad picture", "code": 400}, "choices": []}, "(400): bad picture", 1),
        ({"error": "CUDA error: device-side assert"}, "with an error: CUDA error: device-side assert", 1),
        ({"object": "error", "message": "prompt too long", "code": 40303}, "with an error: prompt too long", 1),
        ({"detail": "Not authenticated"}, "with an error: Not authenticated", 1),
        (
            {"error": {"message": "Provider returned error", "code": 502, "metadata": {"raw": "upstream: no GPU"}}},
            "(502): Provider returned error upstream: no GPU",
            ATTEMPTS,
        ),
        (
            {"choices": [{"error": {"message": "moderated", "code": 403}, "message": {"content": ""}}]},
            "(403): moderated",
            1,
        ),
    ],
)
def test_an_error_within_a_200_is_the_error_it_says(body: dict[str, Any], words: str, asked: int) -> None:
    with serving([Reply(200, body)]) as script, pytest.raises(CallFailed) as raised:
        OpenAiServer(script.url, None, 20, first_wait=0.01).post("chat/completions", {})
    assert words in raised.value.message
    assert len(script.asked) == asked


@pytest.mark.parametrize(
    "body",
    [
        *({"choices": [{"message": {"content": TEXT}}], "error": none} for none in (None, "", {})),
        {"choices": [{"message": {"content": "error"}}], "detail": "none"},
        {"error_count": 0, "choices": []},
    ],
)
def test_what_only_looks_like_an_error_is_none(body: dict[str, Any]) -> None:
    with serving([Reply(200, body)]) as script:
        assert json.loads(OpenAiServer(script.url, None, 20).post("chat/completions", {})) == body


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (400, [{"error": {"code": 400, "message": "API key not valid", "status": "INVALID"}}], "API key not valid"),
        (422, {"detail": [{"loc": ["body", "model"], "msg": "Field required"}]}, "Field required: ['body', 'model']"),
        (429, {"error": {"message": "10 pictures a minute"}}, "(429): 10 pictures a minute. Try again"),
        (429, {"error": {"message": "no money", "code": "insufficient_quota"}}, "no money"),
    ],
)
def test_a_servers_own_words_are_shown(status: int, body: Any, words: str) -> None:
    with serving([Reply(status, json.dumps(body))]) as script, pytest.raises(CallFailed) as raised:
        OpenAiServer(script.url, None, 1, first_wait=0.5).post("chat/completions", {})
    assert words in raised.value.message


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (completion(None, refusal="I cannot help with that."), "the model refused to answer"),
        (completion(None), "the model's answer is empty"),
        (completion("  \n"), "the model's answer is empty"),
        (completion("", "length"), CUT_OFF),
        (completion(TEXT[:30], "length"), CUT_OFF),
        (completion(TEXT, "content_filter"), "stopped by the server's content filter"),
        (completion(None, "tool_calls"), "the model called a tool instead of answering"),
        (completion(TEXT, "abort"), "not ended properly"),
        (completion(None, "length", reasoning_content="Is it a knife?"), ONLY_THOUGHT),
        (completion("", "stop", reasoning="Is it a knife?"), ONLY_THOUGHT),
        (completion("<think>A knife, or a gun?", "length"), ONLY_THOUGHT),
        (completion("<think>A knife, or a gun?</think>\n"), ONLY_THOUGHT),
        (completion("A knife, or a gun?\n</think>"), ONLY_THOUGHT),
    ],
)
def test_what_is_no_whole_answer_says_why(document: dict[str, Any], problem: str) -> None:
    report = report_in(document)
    assert report.problem == problem
    assert not report.complete
    if not report.items:
        assert f"VLM answer incomplete: {problem}" in reason_of(report)


def test_a_thought_that_ends_is_no_problem_and_half_an_answer_keeps_its_knife() -> None:
    whole = report_in(completion(f"<think>Is it a gun?</think>{TEXT}"))
    assert (whole.complete, whole.problem, [item.label for item in whole.items]) == (True, None, ["knife"])
    assert report_in(completion(TEXT, reasoning="Is it a gun?")).problem is None
    half = report_in(completion(TEXT[:33], "length"))
    assert [item.label for item in half.items] == ["knife"]
    assert assess(half, (), 0.0, True, taxonomy().policy()).level == "HIGH"


def test_content_may_come_in_parts() -> None:
    parts = [{"type": "thinking", "thinking": "a gun?"}, {"type": "text", "text": TEXT[:20]}]
    document = completion(None)
    document["choices"][0]["message"]["content"] = [*parts, {"type": "text", "text": TEXT[20:]}]
    assert answer_in(document) == Answer(TEXT, True)
    document["choices"][0]["message"]["content"] = parts[:1]
    assert answer_in(document).problem == ONLY_THOUGHT


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (completion(WHOLE, "length"), WHOLE),
        (completion(WHOLE, "content_filter"), WHOLE),
        (completion(None, refusal="I cannot help with that."), "I cannot help with that."),
        (completion(None, "tool_calls"), ""),
        (completion(""), ""),
    ],
)
def test_what_is_not_a_whole_answer_is_unfinished(document: dict[str, Any], text: str) -> None:
    answer = read_completion(json.dumps(document))
    assert (answer.text, answer.finished) == (text, False)
    assert not read_answer(answer, taxonomy()).complete


@pytest.mark.parametrize(
    "body",
    [
        *("", "nonsense", "<html>", "null", "[]", "{}", '{"choices": []}', '{"choices": [{}]}', "[" * 200_000),
        *('{"choices": [{"message": {"content": 7}}]}', '{"choices": [{"message": {"content": ["a"]}}]}'),
        *('{"choices": [{"message": {"content": "\\ud800"}}]}', "\xff\x00"),
    ],
)
def test_what_is_no_chat_completion_is_an_error(body: str) -> None:
    with serving([Reply(200, body)]) as script:
        with pytest.raises(ModelUnavailable, match="not a chat completion"):
            ask(script)
        assert len(script.asked) == 1


def tokens(*pieces: tuple[str | list[int], float]) -> dict[str, Any]:
    content = []
    for piece, probability in pieces:
        said = piece if isinstance(piece, str) else "\ufffd"
        content.append({"token": said, "logprob": math.log(probability), "top_logprobs": []})
        if not isinstance(piece, str):
            content[-1]["bytes"] = piece
    return {"content": content}


def test_an_items_confidence_is_that_of_its_names_tokens() -> None:
    pieces = tokens(
        ("Items detected: 1", 0.99), (" kn", 0.8), ("ife", 0.5), (" (threat), 2", 0.9), (" plastic", 0.9),
        (" bottles", 0.7), (". Security risk: HIGH - knife detected.", 0.9), ("<|im_end|>", 1.0),
    )  # fmt: skip
    with serving([Reply(200, completion(WHOLE, logprobs=pieces))]) as script:
        answer = ask(script)
        assert script.asked[0].body["logprobs"] is True
    items = {item.label: item.confidence for item in read_answer(answer, taxonomy()).items}
    assert items == {"knife": pytest.approx(0.4), "plastic bottle": pytest.approx(0.63)}


def test_a_character_of_several_tokens_is_covered_by_each() -> None:
    euro = list("€".encode())
    pieces = tokens((" ", 0.9), ("a", 0.5), (euro[:1], 0.25), (euro[1:], 0.75), ("b", 1.0))
    spans = read_completion(json.dumps(completion("a€b", logprobs=pieces))).spans
    assert spans == ((0, 1, pytest.approx(0.5)), (1, 2, pytest.approx(0.25)), (1, 2, 0.75), (2, 3, 1.0))


@pytest.mark.parametrize(
    "logprobs",
    [
        *(None, {}, [], "high", {"content": None}, {"content": []}, {"tokens": ["a"], "token_logprobs": [-0.1]}),
        tokens(("something else", 0.5)),
        {"content": [{"token": WHOLE, "logprob": None}]},
        {"content": [{"token": WHOLE, "logprob": "NaN"}]},
        {"content": [{"token": WHOLE, "logprob": float("-inf")}]},
        {"content": [{"token": WHOLE, "logprob": -0.1, "bytes": [256]}]},
    ],
)
def test_without_usable_probabilities_there_is_no_confidence(logprobs: Any) -> None:
    answer = read_completion(json.dumps(completion(WHOLE, logprobs=logprobs)))
    assert answer == Answer(WHOLE, finished=True)
    assert [item.confidence for item in read_answer(answer, taxonomy()).items] == [None, None]


@given(st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"])), st.floats(-9999, 5)), max_size=8))
def test_spans_lie_in_the_text_and_are_probabilities(pieces: list[tuple[str, float]]) -> None:
    text = "".join(piece for piece, _ in pieces)
    content = [{"token": piece, "logprob": value} for piece, value in pieces]
    answer = read_completion(json.dumps(completion(text, logprobs={"content": content})))
    assert "".join(text[start:end] for start, end, _ in answer.spans) == text
    assert all(0 <= probability <= 1 for _, _, probability in answer.spans)
