"""Logistic regression with a few features: the one fit of calibrations and of rules that see no content."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from training.evaluation.bootstrap import Floats


def logistic_weights(
    features: Floats, target: Floats, ridge: float = 0.0, sample_weight: Floats | None = None
) -> Floats:
    """Maximum-likelihood weights, (1 + K,): the bias first.

    Args:
        features: (N, K).
        target: (N,), 0 to 1.
        ridge: penalty on half the squared weights, the bias apart; keeps them finite where the features separate the
            targets perfectly.
        sample_weight: (N,); 0 leaves a row out.
    """
    design = np.column_stack([np.ones(len(target)), features])
    weight = np.ones(len(target)) if sample_weight is None else sample_weight
    penalty = np.full(design.shape[1], ridge)
    penalty[0] = 0.0
    rows = max(float(weight.sum()), 1.0)

    def loss(weights: Floats) -> tuple[float, Floats]:
        score = design @ weights
        value = weight @ (np.logaddexp(0, score) - target * score) + penalty @ weights**2 / 2
        return float(value / rows), (design.T @ (weight * (sigmoid(score) - target)) + penalty * weights) / rows

    return np.asarray(minimize(loss, np.zeros(design.shape[1]), jac=True, method="BFGS").x)


def sigmoid(score: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(score / 2)))
