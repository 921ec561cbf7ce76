"""The options that go with a question to a model on another server, and what becomes of those it does not take."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from xray_app.vlm.answer_form import SCHEMA_NAME, AnswerForm

Options = Mapping[str, Any]

REFUSALS = frozenset({200, 400, 403, 422, 501})
"""Statuses with which servers refuse an option; 200 is an error within an answer."""
OPENAI_SCHEMA, VLLM_SCHEMA = "response_format", "structured_outputs"
"""How a JSON schema is asked for: by OpenAI and all who follow it, or by vLLM's own option."""
SIZES = "mm_processor_kwargs"
"""vLLM's option for how large a picture is shown; it takes it when started with --trust-request-mm-kwargs."""
_RENAMED = {"max_tokens": "max_completion_tokens"}
"""What some models call an option that they refuse; the others are then left out."""
_ABOUT_A_SCHEMA = re.compile(r"json.?schema|schema|structured|guided|grammar|response.?format", re.I)


def first_options(tokens: int, repetition_penalty: bool, form: AnswerForm | None) -> Options:
    """What a server is asked with at first: the likeliest answer, with its probabilities, in the report's form.

    Args:
        tokens: that an answer may have.
        repetition_penalty: say that there is none. vLLM otherwise takes the model's own, and would answer otherwise
            than was measured; others do not know the word.
        form: gives the JSON schema; None for a model that was trained on the report.
    """
    options: dict[str, Any] = {"temperature": 0, "logprobs": True, "max_tokens": tokens}
    if repetition_penalty:
        options["repetition_penalty"] = 1.0
    if form is not None:
        schema = {"name": SCHEMA_NAME, "strict": True, "schema": form.schema}
        options[OPENAI_SCHEMA] = {"type": "json_schema", "json_schema": schema}
    return options


def holds_to_schema(options: Options) -> bool:
    """Whether they hold the answer to a JSON schema."""
    return OPENAI_SCHEMA in options or VLLM_SCHEMA in options


def without_refused(options: Options, reply: str) -> Options | None:
    """The options without the one that a refusal names, or under its other name; None where there is none to go.

    A refusal that names none may still be about the schema, which the fewest servers take.
    """
    schema = next((name for name in (OPENAI_SCHEMA, VLLM_SCHEMA) if name in options), None)
    refused = next((name for name in options if re.search(rf"\b{name}\b", reply)), None)
    if refused is None or (schema is not None and _ABOUT_A_SCHEMA.search(reply)):
        refused = schema
    if refused is None:
        return None
    rest = {name: value for name, value in options.items() if name != refused}
    if refused == OPENAI_SCHEMA and _ABOUT_A_SCHEMA.search(reply):
        return rest | {VLLM_SCHEMA: {"json": options[OPENAI_SCHEMA]["json_schema"]["schema"]}}
    return rest | {_RENAMED[refused]: options[refused]} if refused in _RENAMED else rest
