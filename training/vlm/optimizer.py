"""One optimizer: Muon for weight matrices and AdamW for everything else.

Muon (Jordan et al. 2024) is PyTorch's; its update is scaled to AdamW's (`match_rms_adamw`), so that both share one
learning rate and one schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn


class MuonAdamW(torch.optim.Optimizer):
    """Two optimisers behind one interface, so that a Trainer can schedule, save and resume them.

    Args:
        model: whose trainable parameters are optimised.
        lr: learning rate of both.
        weight_decay: of the matrices; embeddings, norms and biases are not decayed.
        adam_only: substrings of parameter names that AdamW takes even where they are matrices:
            embeddings and output heads, whose rows are classes and not directions.
    """

    def __init__(self, model: nn.Module, lr: float, weight_decay: float, adam_only: Iterable[str]) -> None:
        apart = tuple(adam_only)
        matrices: list[nn.Parameter] = []
        rest: list[nn.Parameter] = []
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                is_matrix = parameter.ndim == 2 and not any(part in name for part in apart)
                (matrices if is_matrix else rest).append(parameter)
        self._parts: tuple[torch.optim.Optimizer, torch.optim.Optimizer] = (
            torch.optim.Muon(matrices, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.98), weight_decay=0.0),
        )
        super().__init__([group for part in self._parts for group in part.param_groups], {})
        self._share_groups()

    def _share_groups(self) -> None:
        """One list of the parts' own groups, so that a scheduler's learning rate reaches them."""
        self.param_groups = [group for part in self._parts for group in part.param_groups]

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of both parts."""
        value = closure() if closure is not None else None
        for part in self._parts:
            part.step()
        return value

    def state_dict(self) -> dict[str, Any]:
        """The parts' states; `param_groups` are there for callers who look."""
        states = [part.state_dict() for part in self._parts]
        return {"parts": states, "param_groups": [group for state in states for group in state["param_groups"]]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes what `state_dict` gave."""
        for part, state in zip(self._parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share_groups()
