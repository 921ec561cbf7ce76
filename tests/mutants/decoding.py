"""Mutants of how answers are drafted and batched, and of who sees the metrics."""

from __future__ import annotations

from tests.mutants.mutant import Mutant, of_file

DECODING: tuple[Mutant, ...] = (
    *of_file(
        "xray_app/vlm/speculative_decoding.py",
        ("tests/vlm/test_speculative_decoding.py",),
        [
            ("decoding: a draft that is not what the model says is kept",
             "if token != tokens[place]), len(draft))", "if token != tokens[place] and place > 2), len(draft))"),
            ("decoding: rejected tokens stay visible in a batch",
             "self._mask[row, start + kept[row] :] = 0", "self._mask[row, start + kept[row] :] = 1"),
            ("decoding: positions go on as if all of a draft had been kept",
             "self._next = self._next + torch.tensor(kept,",
             "self._next = self._next + torch.tensor([self._read] * len(kept),"),
        ],
    ),
    *of_file(
        "xray_app/vlm/scoring.py",
        ("tests/vlm/test_scoring.py",),
        [("decoding: a token of the tree sees those of other continuations",
          "masked_fill_(~seen,", "masked_fill_(~seen & False,")],
    ),
    *of_file(
        "xray_app/dynamic_batch.py",
        ("tests/test_dynamic_batch.py",),
        [
            ("batch: one failing scan fails the others", "if len(batch) == 1:", "if len(batch) >= 1:"),
            ("batch: it takes more than it may weigh",
             "if batch and weighs > self._heaviest:", "if batch and weighs > 2 * self._heaviest:"),
        ],
    ),
    *of_file(
        "xray_app/api/metrics.py",
        ("tests/api/test_metrics.py",),
        [("metrics: they are open to any token", "if not hmac.compare_digest(",
          "if not sent and not hmac.compare_digest(")],
    ),
)  # fmt: skip
