"""The layers of a transformer dealt out to stages, without ranks: together they are the model."""

import pytest
import torch
from torch.testing import assert_close

from course_lib.distributed import TransformerStage
from course_lib.nn.transformer import Transformer, gpt, llama

SIZES = {"vocab_size": 12, "width": 8, "num_layers": 4, "num_heads": 2, "context_length": 4}
CONFIGS = {"gpt": gpt(**SIZES), "llama": llama(**SIZES)}  # the first with a tied embedding


def test_stages_make_up_the_model():
    for config in CONFIGS.values():
        whole_model = Transformer(config)
        stages = [TransformerStage(whole_model, stage, 3) for stage in range(3)]
        assert [list(stage.blocks) for stage in stages] == [["0"], ["1", "2"], ["3"]]
        names = {name for stage in stages for name, _ in stage.named_parameters()}
        assert names == {name for name, _ in whole_model.named_parameters()}
        x = tokens = torch.tensor([[1, 2, 3]])
        for stage in stages:
            x = stage(x)
        assert_close(x, whole_model(tokens), rtol=0, atol=0)


def test_stages_refuse_what_they_cannot_be():
    whole_model = Transformer(CONFIGS["gpt"])
    for place, num_stages, message in ((2, 2, "must lie in 0"), (-1, 2, "must lie in 0"), (0, 5, "4 blocks cannot")):
        with pytest.raises(ValueError, match=message):
            TransformerStage(whole_model, place, num_stages)
    with pytest.raises(ValueError, match="with an output layer"):
        TransformerStage(Transformer(CONFIGS["gpt"], head=False), 0, 2)
    with pytest.raises(ValueError, match="do not fit into the context length 4"):
        TransformerStage(whole_model, 0, 2)(torch.zeros(1, 5, dtype=torch.int64))
