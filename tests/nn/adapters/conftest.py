"""What the adapters' tests share."""

import pytest
import torch


@pytest.fixture
def moved(randn):
    """A function that moves all A and B of a model off their starting values, at which half of them are zero."""

    def move(model):
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if ".lora." in name and not parameter.is_meta:
                    parameter += 0.3 * randn(*parameter.shape).to(parameter.dtype)
        return model

    return move
