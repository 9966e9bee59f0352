"""AI feedback: a judge made of a language model, which says whether a story keeps to a written principle."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from course_lib.alignment.rewards.model import RewardModel, completion_features
from course_lib.alignment.stories.principles import Judgement
from course_lib.evaluation import fit_linear_probe
from course_lib.nn.transformer import Transformer
from course_lib.tokenization import BPETokenizer

# Shape letters used in this file: N = stories, D = width of the model.


class Judge:
    """A frozen language model that reads a story, and for each principle a head that has learnt to say yes or no.

    A large language model reads a principle it has never seen and applies it. One of a million parameters cannot, so
    here a few labelled cases say what each principle means: the mean of the model's hidden states over the story is
    what it has understood of it, and a logistic regression on that finds what a principle is about. A judge is as good
    as its agreement with the truth, see `agreement`; whoever learns from its preferences learns its errors too.

    Args:
        model: A causal language model; it is read, never changed.
        tokenizer: Its tokenizer.
        cases: Labelled cases of one principle or several, with both answers for each; `judgements`. A hundred a
            principle gave 90 % agreement with the shipped story model.
        separator: Token that stands in front of a story.
        l2: Of the regression, see `course_lib.evaluation.fit_linear_probe`. A few cases want more of it.

    Raises:
        ValueError: If there is no case, or a principle has only one answer.

    Example:
        >>> from course_lib import alignment
        >>> from course_lib.nn.transformer import llama
        >>> tokenizer = BPETokenizer([], special_tokens=["<|endoftext|>"])
        >>> config = llama(vocab_size=257, width=8, num_layers=1, num_heads=2, context_length=64)
        >>> kind = alignment.Principle("Be kind.", "kindness", "kind")
        >>> cases = [Judgement(kind, "A fox helped.", True), Judgement(kind, "A fox ran.", False)]
        >>> judge = Judge(Transformer(config), tokenizer, cases, separator=0)
        >>> (judge.probability("Be kind.", ["A fox helped.", "A fox ran."]) > 0.5).tolist()
        [True, False]

    Reference: Bai et al. 2022, Constitutional AI: harmlessness from AI feedback, section 4.1,
    https://arxiv.org/abs/2212.08073; Lee et al. 2023, RLAIF vs. RLHF: scaling reinforcement learning from human
    feedback with AI feedback, https://arxiv.org/abs/2309.00267
    """

    def __init__(
        self,
        model: Transformer,
        tokenizer: BPETokenizer,
        cases: Sequence[Judgement],
        *,
        separator: int,
        l2: float = 0.01,
    ) -> None:
        if len(cases) == 0:
            raise ValueError("a judge needs labelled cases to know what its principles mean, got none.")
        self._reader = RewardModel(model, pooling="mean")
        self._tokenizer, self._separator = tokenizer, separator
        features = self._features([case.story for case in cases])
        self._heads = {}
        for text in dict.fromkeys(case.principle.text for case in cases):
            rows = [row for row, case in enumerate(cases) if case.principle.text == text]
            answers = torch.tensor([cases[row].keeps for row in rows]).long()
            if answers.amin() == answers.amax():
                raise ValueError(f"the principle {text!r} needs cases of both kinds, got {len(rows)} of one.")
            self._heads[text] = fit_linear_probe(features[rows], answers, l2=l2)

    @property
    def principles(self) -> list[str]:
        """The principles that it has learnt, as written."""
        return list(self._heads)

    def log_odds(self, principle: str, stories: Sequence[str]) -> Tensor:
        """Return ``log P(yes) - log P(no)`` for each story.

        Args:
            principle: One of `principles`.
            stories: Texts, from whatever source; the name of a special token in one is read as text.

        Shape:
            - output: ``(N,)``, float64, on the CPU

        Raises:
            ValueError: If it has not learnt this principle, or a story is longer than the model's context; the message
                names the story.
        """
        if principle not in self._heads:
            raise ValueError(f"this judge has not learnt {principle!r}; it knows: {self.principles}.")
        if len(stories) == 0:
            return torch.zeros(0, dtype=torch.float64)
        logits = self._heads[principle].logits(self._features(stories))
        return logits[:, 1] - logits[:, 0]

    def probability(self, principle: str, stories: Sequence[str]) -> Tensor:
        """Return how sure it is that each story keeps to the principle, ``(N,)``, float64."""
        return self.log_odds(principle, stories).sigmoid()

    def taste(self, *principles: str) -> Callable[[Sequence[str]], Tensor]:
        """Return a taste for `SimulatedRater`: the sum of the log-odds over one principle or several (a constitution).

        ``SimulatedRater(judge.taste(text))`` prefers the first of two stories with probability ``sigmoid(difference of
        log-odds)``; `preference_pairs` makes data for DPO of its answers.

        Args:
            principles: At least one.

        Raises:
            ValueError: If there is none; when called, as `log_odds`.
        """
        if not principles:
            raise ValueError("a taste needs at least one principle, got none.")

        def taste(texts: Sequence[str]) -> Tensor:
            return torch.stack([self.log_odds(principle, texts) for principle in principles]).sum(0)

        return taste

    def agreement(self, cases: Sequence[Judgement]) -> Tensor:
        """Return for each labelled case whether the judge is right, ``(N,)``, bool; a tie is a no.

        Its mean is 0.5 for a judge who tosses, on cases from `judgements`, and 1 for a perfect one. Group by
        ``case.principle`` to see where its errors go.
        """
        right = torch.zeros(len(cases), dtype=torch.bool)
        for text in dict.fromkeys(case.principle.text for case in cases):
            rows = [row for row, case in enumerate(cases) if case.principle.text == text]
            says = self.log_odds(text, [cases[row].story for row in rows]) > 0
            right[rows] = says == torch.tensor([cases[row].keeps for row in rows])
        return right

    def _features(self, stories: Sequence[str]) -> Tensor:
        """What the model has understood of each story, ``(N, D)``."""
        ids = [self._tokenizer.encode(story, special="text") for story in stories]
        room = self._reader.transformer.config.context_length - 1
        if too_long := [row for row, tokens in enumerate(ids) if len(tokens) > room]:
            raise ValueError(
                f"story {too_long[0]} has {len(ids[too_long[0]])} tokens, more than the {room} the model can read: "
                "leave it out, or have shorter stories written."
            )
        return completion_features(self._reader, [[self._separator]] * len(ids), ids).double().cpu()
