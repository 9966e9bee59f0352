"""DiLoCo, local SGD, AdaScale and measured gradients on two and four gloo ranks, against one process."""

import math

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.testing import assert_close

from course_lib.collectives import rank, world_size
from course_lib.data import Batches
from course_lib.distributed import AdaScale, DiLoCo, MeasuredGradients, simulate_diloco
from course_lib.loops import EMA, NonFiniteStep, Run, classification, train

CLOSE = {"rtol": 1e-12, "atol": 1e-14}  # float64, sums in another order
EXACT = {"rtol": 0, "atol": 0}
ROWS, EVERY, STEPS = 48, 3, 9


def make_model(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)).double()


def make_run(model, optimizer=torch.optim.AdamW, **parts):
    return Run(model, classification, optimizer(model.parameters(), lr=0.05), **parts)


def data():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(ROWS, 5, generator=generator, dtype=torch.float64)
    return x, torch.randint(0, 3, (ROWS,), generator=generator)


def stream(num_workers, worker):
    return Batches(data(), batch_size=3 * num_workers, seed=2, rank=worker, world_size=num_workers)


def simulated(num_workers, every=EVERY, **outer):
    runs = [make_run(make_model(seed=worker)) for worker in range(num_workers)]  # all begin as worker 0
    streams = [stream(num_workers, worker) for worker in range(num_workers)]
    updates = list(simulate_diloco(runs, streams, every=every, steps=STEPS, **outer))
    return [[float(step.loss) for step in steps] for steps in updates], runs[0].model.state_dict()


def measured_in_one_process(num_ranks):
    """As many micro-batches as there are ranks, each a rank's rows."""
    model, measured = make_model(), MeasuredGradients(decay=0.5)
    run = make_run(model, gradients=measured)
    parts = [iter(stream(num_ranks, worker)) for worker in range(num_ranks)]
    for _ in range(4):
        run.step(*(next(part) for part in parts))
    return measured.noise_scale, measured.sizes, model.state_dict()


def ragged_parts(num_ranks):
    """Rank r has r + 1 micro-batches of a step, of one to three rows."""
    x, y = data()
    rows = iter(range(ROWS))
    return [
        [(x[part], y[part]) for part in ([next(rows) for _ in range(1 + size % 3)] for size in range(place + 1))]
        for place in range(num_ranks)
    ]


def ragged_in_one_process(num_ranks):
    model, measured = make_model(), MeasuredGradients()
    make_run(model, gradients=measured).step(*(part for parts in ragged_parts(num_ranks) for part in parts))
    return measured.latest, measured.sizes, model.state_dict()


def adascale_in_one_process(num_ranks):
    model, ada = make_model(), AdaScale(small_steps=20, scale=num_ranks, schedule=lambda step: 0.9**step)
    run = make_run(model, torch.optim.SGD, **ada.parts())
    parts, path = [iter(stream(num_ranks, worker)) for worker in range(num_ranks)], []
    while not ada.finished:
        run.step(*(next(part) for part in parts))
        path.append((ada.gain, ada.small_step))
    return path, model.state_dict()


def worker(me, expected):
    num_ranks = world_size()
    check_diloco(me, num_ranks, expected[num_ranks])
    check_measured(expected[num_ranks])
    check_ragged_parts(me, expected[num_ranks])
    check_frozen(me)
    check_adascale(expected[num_ranks])
    check_failure_of_one_worker(me, num_ranks)
    check_refusals(me)
    if num_ranks == 4:
        check_islands(me, expected["islands"])


def check_diloco(me, num_ranks, expected):
    for name, outer in (("diloco", {}), ("local SGD", {"outer_rate": 1.0, "outer_momentum": 0.0})):
        losses, parameters = expected[name]
        model = make_model(seed=me)
        diloco = DiLoCo(model, every=EVERY, **outer)
        run = make_run(model, **diloco.parts())
        mine = [float(step.loss) for step in train(run, stream(num_ranks, me), steps=STEPS)]
        assert mine == pytest.approx([step[me] for step in losses], rel=1e-12)
        assert_close(model.state_dict(), parameters, **CLOSE)
        assert diloco.num_meetings == STEPS // EVERY
        num_bytes = 8 * sum(parameter.numel() for parameter in model.parameters())
        assert diloco.sent_bytes == pytest.approx(3 * 2 * (num_ranks - 1) / num_ranks * num_bytes)


def check_measured(expected):
    estimate, sizes, parameters = expected["measured"]
    model, measured = make_model(), MeasuredGradients(decay=0.5)
    for _ in train(make_run(model, gradients=measured), stream(world_size(), rank()), steps=4):
        pass
    assert measured.sizes == sizes
    assert measured.noise_scale.noise == pytest.approx(estimate.noise, rel=1e-10)
    assert measured.noise_scale.signal == pytest.approx(estimate.signal, rel=1e-10)
    assert_close(model.state_dict(), parameters, **CLOSE)


def check_ragged_parts(me, expected):
    latest, sizes, parameters = expected["ragged"]
    model, measured = make_model(), MeasuredGradients()
    make_run(model, gradients=measured).step(*ragged_parts(world_size())[me])
    assert measured.sizes == sizes
    assert (measured.latest.noise, measured.latest.signal) == pytest.approx((latest.noise, latest.signal), rel=1e-9)
    assert_close(model.state_dict(), parameters, **CLOSE)


def check_frozen(me):
    """Each rank has drawn its own frozen layer: all begin with that of the first."""
    model = make_model(seed=me)
    model[0].requires_grad_(False)
    DiLoCo(model, every=2)
    assert_close(model.state_dict(), make_model(seed=0).state_dict(), **EXACT)


def check_adascale(expected):
    path, parameters = expected["adascale"]
    model = make_model()
    ada = AdaScale(small_steps=20, scale=world_size(), schedule=lambda step: 0.9**step)
    mine = []
    for _ in train(make_run(model, torch.optim.SGD, **ada.parts()), stream(world_size(), rank()), steps=99):
        mine.append((ada.gain, ada.small_step))
        if ada.finished:
            break
    assert [pytest.approx(pair, rel=1e-9) for pair in path] == mine
    assert_close(model.state_dict(), parameters, **CLOSE)


def check_failure_of_one_worker(me, num_ranks):
    """The others learn of it at the next meeting and say so, instead of waiting for a time-out."""
    for failure in ("nan", "error", "nothing to learn from"):
        model = make_model()
        run = make_run(model, **DiLoCo(model, every=4).parts())
        x, y = next(iter(stream(num_ranks, me)))
        run.step((x, y))
        if me == 1:
            bad, kind, message = {
                "nan": ((x * math.nan, y), NonFiniteStep, "loss nan"),
                "error": ((x[:, :2], y), RuntimeError, "shapes"),
                "nothing to learn from": ((x, y * 0 - 100), ValueError, "no targets"),
            }[failure]
            with pytest.raises(kind, match=message):
                run.step(bad)
        else:
            run.step((x, y))
            run.step((x, y))
            with pytest.raises(
                NonFiniteStep, match=f"1 of {num_ranks} workers had a loss or gradient .* since meeting 0"
            ):
                run.step((x, y))


def check_refusals(me):
    model = make_model()
    diloco = DiLoCo(model, every=2)
    with pytest.raises(ValueError, match="give Run both parts"):
        make_run(model, gradients=diloco)
    with pytest.raises(ValueError, match="takes no ema"):
        make_run(model, **diloco.parts(), ema=EMA(model))
    with pytest.raises(ValueError, match="the ranks have built different models"):
        DiLoCo(nn.Linear(2, 2 + me), every=2)


def check_islands(me, expected):
    """Two workers of two ranks each: inside it is data parallelism, between them DiLoCo."""
    islands = [dist.new_group([0, 1]), dist.new_group([2, 3])]
    across = [dist.new_group([0, 2]), dist.new_group([1, 3])]
    model = make_model(seed=me)
    diloco = DiLoCo(model, every=EVERY, group=across[me % 2], island=islands[me // 2])
    run = make_run(model, **diloco.parts())
    rows = _first(stream(2, me // 2), STEPS)
    for x, y in rows:  # three rows a worker: two for its first rank, one for its second
        part = slice(0, 2) if me % 2 == 0 else slice(2, 3)
        run.step((x[part], y[part]))
    assert_close(model.state_dict(), expected[1], **CLOSE)
    x, y = rows[0]
    batch = (x * (math.nan if me == 1 else 1.0), y)
    if me >= 2:
        run.step(batch)
        run.step(batch)  # the third update ends with the meeting
    with pytest.raises(NonFiniteStep, match="loss nan" if me < 2 else "1 of 2 workers"):
        run.step(batch)


def _first(batches, count):
    iterator = iter(batches)
    return [next(iterator) for _ in range(count)]


def test_two_and_four_ranks(on_two_and_four_ranks):
    expected = {
        num_ranks: {
            "diloco": simulated(num_ranks),
            "local SGD": simulated(num_ranks, outer_rate=1.0, outer_momentum=0.0),
            "measured": measured_in_one_process(num_ranks),
            "ragged": ragged_in_one_process(num_ranks),
            "adascale": adascale_in_one_process(num_ranks),
        }
        for num_ranks in (2, 4)
    }
    expected["islands"] = simulated(2)
    on_two_and_four_ranks(worker, expected)
