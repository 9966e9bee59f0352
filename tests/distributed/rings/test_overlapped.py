"""Gradients summed bucket by bucket during backward against Run's own sum after it, and against one process."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.collectives import rank, world_size
from course_lib.data import Batches
from course_lib.distributed import Overlapped, bucketed, launch
from course_lib.loops import Run, classification, train

CLOSE = {"rtol": 1e-10, "atol": 1e-12}  # float64, sums in another order
ROWS, BATCH_SIZE, STEPS = 21, 8, 20  # the last batch of an epoch has 5 rows


class Model(nn.Module):
    """Layers, one of which only rank 0's rows use, one that nobody uses, and one that is frozen."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(5, 8), nn.Linear(8, 3)
        self.now_and_then, self.never, self.frozen = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.frozen.requires_grad_(False)

    def forward(self, x):
        hidden = torch.tanh(self.frozen(self.first(x)))
        return self.last(self.now_and_then(hidden) if (x[:, 0] > 1.5).any() else hidden)


def data():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(ROWS, 5, generator=generator, dtype=torch.float64)
    return x, torch.randint(0, 3, (ROWS,), generator=generator)


def trained(bucket_bytes, accumulate=1, plain=False):
    torch.manual_seed(0)
    model = Model().double()
    overlapped = Overlapped(model.parameters(), bucket_bytes=bucket_bytes)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01, weight_decay=0.1)
    run = Run(model, classification, optimizer, max_grad_norm=0.5, **({} if plain else {"gradients": overlapped}))
    record = []
    for step in train(run, Batches(data(), batch_size=BATCH_SIZE, seed=2), steps=STEPS, accumulate=accumulate):
        gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
        kept = {name: gradient.clone() for name, gradient in gradients.items() if gradient is not None}
        record.append({"loss": step.loss, "norm": step.grad_norm, **kept})
    return record, model.state_dict(), overlapped


def same_rows_everywhere():
    """Rows for which the model uses the same layers however they are split."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    run = Run(
        model,
        classification,
        torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        gradients=Overlapped(model.parameters(), bucket_bytes=100),
    )
    steps = list(train(run, Batches(data(), batch_size=BATCH_SIZE, seed=2), steps=STEPS))
    return [step.loss for step in steps], model.state_dict()


def worker(expected):
    assert_close(same_rows_everywhere(), expected, **CLOSE)
    for accumulate in (1, 3):
        plain = trained(100, accumulate, plain=True)[:2]
        for bucket_bytes in (1, 600, 10**9):  # a bucket for each parameter, some, all in one
            assert_close(trained(bucket_bytes, accumulate)[:2], plain, **CLOSE)
    check_reductions()
    check_tied_weights()
    check_refusals()


def run_of(model, gradients):
    return Run(model, classification, sgd(model), gradients=gradients)


def check_tied_weights():
    torch.manual_seed(0)
    tied = nn.Linear(3, 3)
    model = nn.Sequential(tied, nn.Tanh(), tied).double()
    plain = copy.deepcopy(model)
    batch = (torch.full((2, 3), 1.0 + rank(), dtype=torch.float64), torch.tensor([0, 2]))
    steps = run_of(model, Overlapped(model.parameters(), bucket_bytes=1)), Run(plain, classification, sgd(plain))
    for run in steps:
        run.step(batch)
    assert_close(model.state_dict(), plain.state_dict(), **CLOSE)
    assert_close(tied.weight.grad, plain[0].weight.grad, **CLOSE)


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


def check_refusals():
    torch.manual_seed(rank())
    other_values = nn.Linear(3, 3)
    with pytest.raises(ValueError, match=r"2 of 2 parameters have other values on some rank than on rank 0"):
        run_of(other_values, Overlapped(other_values.parameters()))
    other_shape = nn.Linear(3, 3 + (rank() == 1))
    with pytest.raises(ValueError, match=r"different models: weight is \[3, 3\] .* on rank 0 and \[4, 3\]"):
        run_of(other_shape, Overlapped(other_shape.parameters()))

    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    run = run_of(layers, Overlapped(layers.parameters(), bucket_bytes=1))
    batch = (torch.ones(2, 3), torch.tensor([0, 1]))

    def broken(_):
        raise ArithmeticError("midway")

    hook = layers[0].weight.register_hook(broken)  # when those of the second layer have been sent
    with pytest.raises(ArithmeticError, match="midway"):
        run.step(batch)
    hook.remove()
    with pytest.raises(RuntimeError, match=r"earlier backward pass failed .* out of step"):
        run.step(batch)

    def twice(model, batch):
        loss = classification(model, batch)
        loss.total.backward(retain_graph=True)  # as an objective that goes back on its own
        return loss

    overlapped = Overlapped(layers.parameters(), bucket_bytes=1)
    with pytest.raises(ValueError, match=r"shape \(3,\) after it had been sent"):
        overlapped(layers, twice, [batch])


def check_reductions():
    overlapped = trained(600)[2]
    assert [reduction.bucket for reduction in overlapped.reductions] == list(range(len(overlapped.buckets)))
    for reduction, bucket in zip(overlapped.reductions, overlapped.buckets, strict=True):
        assert reduction.bytes == 8 * sum(parameter.numel() + 1 for parameter in bucket)  # and a flag for each
        assert 0 < reduction.started_seconds < reduction.finished_seconds
    starts = [reduction.started_seconds for reduction in overlapped.reductions]
    assert starts == sorted(starts)
    check_that_a_bucket_starts_before_backward_ends()


def check_that_a_bucket_starts_before_backward_ends():
    layers = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    overlapped = Overlapped(layers.parameters(), bucket_bytes=1)
    seen = []
    layers[0].weight.register_hook(lambda _: seen.append(len(overlapped._started)))  # the last one of backward
    batch = (torch.ones(2, 3), torch.tensor([0, rank() % 3]))
    overlapped(layers, classification, [batch])
    assert len(overlapped.buckets) == 4
    assert seen[0] >= 2  # those of the second layer were under way
    assert world_size() > 1


@pytest.mark.parametrize("num_ranks", [2, 4])
def test_sums_equal_those_of_run_and_of_one_process(num_ranks):
    launch(worker, same_rows_everywhere(), num_workers=num_ranks, timeout=120)


def test_parameters_that_would_not_be_summed_are_refused():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"2 of the optimizer's 4 parameters are not among those"):
        run_of(model, Overlapped(model[0].parameters()))


def test_one_process_reduces_nothing():
    overlapped = trained(100)[2]
    assert overlapped.reductions == []


def test_buckets_go_from_the_last_parameter_to_the_first():
    names = {}
    model = nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 10), nn.Linear(10, 10))
    model[1].double()
    model[2].bias.requires_grad_(False)
    for name, parameter in model.named_parameters():
        names[parameter] = name
    buckets = [[names[parameter] for parameter in bucket] for bucket in bucketed(model.parameters(), bucket_bytes=440)]
    assert buckets == [["2.weight"], ["1.bias"], ["1.weight"], ["0.bias", "0.weight"]]  # 400; 80 + 800; 40 + 400 bytes
    with pytest.raises(ValueError, match=r"bucket_bytes must be positive, got 0"):
        bucketed(model.parameters(), bucket_bytes=0)
