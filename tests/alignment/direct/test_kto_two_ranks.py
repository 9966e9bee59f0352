"""KTO on two gloo processes with unequal many rows, or none, against one process: all losses and weights the same."""

import torch
from torch.testing import assert_close

from course_lib.alignment import Preferences, kto_batch, kto_objective
from course_lib.data import Batches
from course_lib.loops import Run, train
from course_lib.nn.transformer import Transformer, llama

PAIRS = Preferences([[1], [2, 3], [5]], [[2, 3, 9], [9], [4, 4]], [[4, 9], [8, 8, 8], [3]], torch.ones(3))


def trained():
    """Batches of 5 rows and of 1: on two ranks 3 and 2, then 1 and none."""
    config = llama(vocab_size=11, width=8, num_layers=1, num_heads=2, context_length=12)
    policy, reference = (Transformer(config, generator=torch.Generator().manual_seed(seed)).double() for seed in (0, 1))
    batches = Batches(kto_batch(PAIRS, reference), batch_size=5, seed=0)
    run = Run(policy, kto_objective(beta=0.5, undesirable_weight=1.5), torch.optim.SGD(policy.parameters(), lr=0.5))
    numbers = [{"loss": step.loss, "norm": step.grad_norm, **step.metrics} for step in train(run, batches, steps=6)]
    return numbers, policy.state_dict()


def compare(rank, expected):
    assert_close(trained(), expected, rtol=1e-10, atol=1e-13, check_dtype=False)


def test_unequal_rows_are_one_batch(on_two_ranks):
    expected = trained()
    assert any(numbers["reference_point"] > 0 for numbers in expected[0])
    on_two_ranks(compare, expected)
