"""What became of an event whose answer has not reached the page, which asks for it (`event_stream.js`).

Asking is an event itself: where the stream of answers was cut, one is opened for this event, and all that still waits
on the server comes by it. Of an event that is neither at work nor waits to be told, the page learns that it is over;
without that Gradio would not run the same event again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr
from anyio import from_thread
from gradio.server_messages import ProcessCompletedMessage

from xray_app.auth import Identity
from xray_app.errors import BadInput
from xray_app.types import Role
from xray_app.ui.guard import Guard

MOST_ASKED = 100
LOST = {
    "title": "No answer",
    "error": "The answer to this was lost on its way. What is stored is shown; repeat what is missing.",
    "visible": True,
    "duration": 15,
}
ASKED = "() => xrayEvents.asked()"


class Unanswered:
    """Builds the hidden button by which the page asks, inside the current Blocks.

    Args:
        stored: the queue as it is stored, shown with the answer.
    """

    def __init__(self, guard: Guard, page: gr.Blocks, strip: gr.HTML, stored: Callable[[Identity], Any]) -> None:
        self.page = page
        self.strip = strip
        self.stored = stored
        ask = gr.Button("", visible="hidden", elem_id="ask-unanswered")
        # Another may be asked for while the answer to this is missing too.
        guard.on(ask.click, Role.ANALYST, self.tell, strip, strip, js=ASKED, session=True, trigger_mode="multiple")

    def tell(self, who: Identity, session: str | None, asked: Any) -> dict[Any, Any]:
        """Ends the events asked for that the server knows nothing of, and shows what is stored.

        A true answer that still waits goes first: it stands before this one in the queue of the session's messages.

        Raises:
            BadInput: no list of event ids.
        """
        queue = self.page._queue
        messages = queue.pending_messages_per_session.get(session) if session else None
        for event_id in _event_ids(asked):
            if messages is not None and event_id not in queue.event_ids_to_events:
                over = ProcessCompletedMessage(event_id=event_id, output=dict(LOST), success=False)
                from_thread.run_sync(messages.put_nowait, over)  # the queue is the event loop's
        return {self.strip: self.stored(who)}


def _event_ids(asked: Any) -> list[str]:
    ids = asked.get("events") if isinstance(asked, Mapping) else None
    if not isinstance(ids, list) or len(ids) > MOST_ASKED or not all(isinstance(one, str) for one in ids):
        raise BadInput("Events are asked for by their ids.")
    return ids
