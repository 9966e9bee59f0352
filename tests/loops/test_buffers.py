"""Buffers come back, whether a forward pass wrote into them, replaced them, or made them."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.loops.buffers import SavedBuffers


class Busy(nn.Module):
    """Changes each of its buffers in another way."""

    def __init__(self):
        super().__init__()
        self.register_buffer("written", torch.tensor([1.0, 2.0]))
        self.register_buffer("replaced", torch.tensor([3.0, 4.0]))
        self.register_buffer("grown", torch.tensor([5.0]))
        self.register_buffer("made", None)
        self.register_buffer("private", torch.tensor(6), persistent=False)

    def forward(self):
        self.written += 10
        self.replaced = self.replaced + 10
        self.grown += 1
        self.grown = torch.cat([self.grown, self.grown])
        self.made = torch.ones(3)
        self.private += 1


def values(model):
    return {name: None if buffer is None else buffer.clone() for name, buffer in model._buffers.items()}


@pytest.mark.parametrize("skipped", [None, torch.tensor(True)])
def test_every_change_is_undone(skipped):
    model = Busy()
    before, saved = values(model), SavedBuffers(model)
    model()
    saved.restore(skipped)
    assert model.made is None
    assert_close(values(model), before, rtol=0, atol=0)


def test_a_step_that_was_made_keeps_its_changes():
    model = Busy()
    saved = SavedBuffers(model)
    model()
    after = values(model)
    saved.restore(torch.tensor(False))
    assert_close(values(model), after, rtol=0, atol=0)


def test_a_buffer_written_in_place_stays_the_same_tensor():
    model = Busy()
    saved, written = SavedBuffers(model), model.written
    model()
    saved.restore(torch.tensor(True))
    assert model.written is written
