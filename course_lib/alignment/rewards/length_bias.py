"""Length bias: find out whether a reward pays for length itself, and train one that does not."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Shape letters used in this file: B = rows, N = texts, T = tokens.


def length_slope(rewards: Tensor, lengths: Tensor, *, given: Tensor | None = None) -> float:
    """Return by how much the reward rises with each unit of length, other things equal if they are given.

    A reward may go with length for a good reason: if long stories are better, or worse. What is paid for length alone
    is the slope among texts that are equally good, that is in the least-squares fit of the rewards on both.

    Args:
        rewards: Of some texts.
        lengths: Their lengths: words, tokens.
        given: What is held equal: their true worth, say, where it is known.

    Shape:
        - rewards, lengths, given: ``(N,)``

    Returns:
        Reward a unit of length; 0 for a reward that does not care.

    Raises:
        ValueError: If these are not one finite number a text, or the fit has no single answer because lengths are all
            equal or follow from ``given``.

    Example:
        >>> words, worth = torch.tensor([10.0, 20.0, 30.0, 40.0]), torch.tensor([0.0, 2.0, 1.0, 3.0])
        >>> rewards = worth + 0.5 * words
        >>> round(length_slope(rewards, words), 4), round(length_slope(rewards, words, given=worth), 4)
        (0.58, 0.5)
    """
    columns = [rewards, lengths] if given is None else [rewards, lengths, given]
    if rewards.ndim != 1 or any(column.shape != rewards.shape for column in columns):
        raise ValueError(f"all must be (N,), one number a text, got {[tuple(column.shape) for column in columns]}.")
    target, *known = (column.detach().cpu().double() for column in columns)
    if not all(bool(column.isfinite().all()) for column in (target, *known)):
        raise ValueError("rewards, lengths and what is given must be finite.")
    centred = [column - column.mean() for column in known]
    scales = [column.norm() for column in centred]
    if float(scales[0]) == 0:
        raise ValueError("all texts are of one length: nothing tells what length is paid.")
    if given is None or float(scales[1]) == 0:  # what is the same everywhere holds nothing equal
        return float(centred[0] @ target / scales[0] ** 2)
    units = [column / scale for column, scale in zip(centred, scales, strict=True)]
    rest = units[0] - (units[0] @ units[1]) * units[1]  # what of length does not follow from the other
    if float(rest.norm()) < 1e-8:
        raise ValueError("lengths and what is given go in step: their parts in the reward cannot be told apart.")
    return float(rest @ target / (rest @ units[0]) / scales[0])


class LengthAside(nn.Module):
    """A reward model and, beside it, a price for each token: what length explains need not be learnt by the model.

    The cure for raters who take longer for better. Train the two together on comparisons; then go on with ``.model``
    alone, and what was paid for length stays behind in ``.per_token``. It takes away all that goes with length and with
    nothing else that the model can see, also where raters had good reason for it.

    Args:
        model: Called as ``model(tokens, mask)``, gives one number a row.

    Shape:
        - tokens: ``(B, T)``, int64; mask: ``(B, T)``, bool, True for a token
        - output: ``(B,)``

    Example:
        >>> aside = LengthAside(lambda tokens, mask: torch.zeros(len(tokens)))
        >>> with torch.no_grad():
        ...     _ = aside.per_hundred.fill_(2.0)
        >>> aside(torch.zeros(1, 50).long(), torch.ones(1, 50, dtype=torch.bool)).item(), aside.per_token
        (1.0, 0.02)

    Reference: in the spirit of Chen et al. 2024, ODIN: disentangled reward mitigates hacking in RLHF (there two heads,
    one of which is to go with length, the other not), https://arxiv.org/abs/2402.07319
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.per_hundred = nn.Parameter(torch.zeros(()))  # per token it would be so small that no step size fits

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Return the reward with its price of length."""
        rewards: Tensor = self.model(tokens, mask)
        return rewards + self.per_hundred * (mask.sum(dim=1) / 100).to(rewards.dtype)

    @property
    def per_token(self) -> float:
        """What a token is paid, in the reward's units."""
        return float(self.per_hundred.detach()) / 100
