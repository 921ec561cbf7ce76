"""Mutants of what detectors learn from: simulated bags, scans as elsewhere, balanced groups, an anchored confidence."""

from __future__ import annotations

from tests.mutants.mutant import Mutant, of_file

SIGHT: tuple[Mutant, ...] = (
    *of_file(
        "training/data/group_balance.py",
        ("tests/training/data/test_group_balance.py",),
        [
            ("balance: the rare side weighs less", "weights[of & holds[:, c]] *= np.sqrt(odds)",
             "weights[of & holds[:, c]] /= np.sqrt(odds)"),
            ("balance: a weight has no bounds", "weights = np.clip(weights, 1 / most, most)",
             "weights = weights * 1.0"),
        ],
    ),
    *of_file(
        "training/detector/frames.py",
        ("tests/training/detector/test_sight.py",),
        [
            ("elsewhere: a narrower view cuts a box off", "max(width / zoom, x1 - x0)", "width / zoom"),
            ("elsewhere: boxes stay where they were", "moved[:, [1, 3]] = (boxes[:, [1, 3]] - left) * scale",
             "moved[:, [1, 3]] = boxes[:, [1, 3]] * scale"),
        ],
    ),
    *of_file(
        "training/detector/anchor.py",
        ("tests/training/detector/test_anchor.py",),
        [
            ("anchor: one thing is found twice", "taken.update(map(int, fits[:1]))", "taken.update(())"),
            ("anchor: the shift goes the other way", "predictor.bias += shift", "predictor.bias -= shift"),
        ],
    ),
    *of_file(
        "training/detector/lite_backbone.py",
        ("tests/training/detector/test_sight.py",),
        [("sight: the frozen blocks' statistics move", "part.eval()", "part.train()")],
    ),
    *of_file(
        "xray_app/simulate/scene.py",
        ("tests/simulate/test_full_bags.py",),
        [
            ("simulate: full bags show items as large as tidy ones",
             "length = draw_centimetres(label, rng) * conditions.scale", "length = draw_centimetres(label, rng) * 14"),
            ("simulate: tidy scans have the new palettes", "style = _vary(rng.choice(STYLES), rng)",
             "style = _vary_widely(rng.choice(STYLES), rng)"),
        ],
    ),
)  # fmt: skip
