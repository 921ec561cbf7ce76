"""What a button must not do by mistake, said where it is built, as CSS classes: Gradio's buttons take no `data-`
attributes. `browser/guards.js` reads them; a test holds both to the same names."""

from __future__ import annotations

ONCE = "press-once"
"""The second click of a double click does nothing."""

ASKS = "press-asks"
"""Stops or switches something: the first press asks whether the person means it, the second does it."""

DECIDES = "press-decides"
"""Decides about the bag: not twice in a moment, and not before the scan could be seen."""

ANSWERS = "press-answers"
"""Answers a question about the decision: the next press on a decision is meant."""

UNHURRIED = "press-unhurried"
"""Does nothing before the scan could be seen."""

NEEDS_PICTURE_TO_CLEAR = "press-needs-picture-to-clear"
NEEDS_PICTURE_TO_SAVE = "press-needs-picture-to-save"
"""Does nothing where the picture could not be loaded; the person is told what to do instead."""

SAVES_BOXES = "press-saves-boxes"
"""Saves all boxes: those that are hidden are shown first."""

HANDS_OVER = "press-hands-over"
"""Sends the unsaved edits, or drops them: the answer says whether they come back."""

JUDGES = "press-judges"
"""Judges a correction: not twice, and not one that has just come up."""
