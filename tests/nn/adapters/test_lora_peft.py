"""LoRA and prompt tuning beside peft: outputs, every gradient, and adapters that go from one to the other."""

import copy
import warnings

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.testing import assert_close

from course_lib.nn import MLP
from course_lib.nn.adapters import PromptTuned, add_lora, load_lora, merge_lora, save_lora, use_lora
from course_lib.nn.transformer import Transformer, gpt, llama
from course_lib.nn.transformer.hugging_face import llama_weights

TO_1E_6 = {"rtol": 1e-6, "atol": 1e-6}
IDS = torch.randint(0, 7, (5, 12), generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """One layer of each kind, and a head."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(7, 6, padding_idx=0)
        self.conv = nn.Conv2d(2, 4, 3, stride=2, padding=1)
        self.hidden = nn.Linear(36, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, ids):
        images = self.table(ids).view(-1, 2, 6, 6)
        return self.head(self.hidden(self.conv(images).flatten(1)).tanh())


def mlp():
    return MLP((12, 16, 16, 3), generator=torch.Generator().manual_seed(0))


def small_llama():
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=7,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=32,
        bos_token_id=None,
        eos_token_id=None,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config)


def our_gpt():
    return Transformer(gpt(vocab_size=7, width=16, num_layers=2, num_heads=4, context_length=16, tied=False))


MODELS = {
    "MLP": (mlp, r"linears\.[012]", IDS / 7),
    "each kind of layer": (Net, ["table", "conv", "hidden"], IDS),
    "our GPT": (our_gpt, r"embedding|blocks\.\d\..*(query|output|up)", IDS),
    "Llama of transformers": (small_llama, ["q_proj", "v_proj", "down_proj", "lm_head"], IDS),
}


def build(name):
    torch.manual_seed(0)
    make, targets, x = MODELS[name]
    return make(), targets, x


def with_peft(model, targets, **settings):
    import peft  # takes seconds, so not while tests are collected

    config = peft.LoraConfig(r=3, lora_alpha=5, target_modules=targets, **settings)
    return peft.get_peft_model(model, config)


def shaken(model, generator=None):
    generator = generator or torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora" in name:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model


def outputs(model, x):
    out = model(x)
    return out if isinstance(out, torch.Tensor) else out.logits


def gradients(model, x):
    """The output, and the gradient of each parameter that learns, by a name that both libraries share."""
    out = outputs(model, x)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(2), dtype=out.dtype)
    model.zero_grad()
    (out * weights).sum().backward()
    found = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is None:
            assert not parameter.requires_grad
            continue
        name = name.removeprefix("base_model.model.").removesuffix(".weight").removesuffix(".default")
        for old, new in ((".lora.default", ".lora_A"), (".lora_embedding", ".lora")):
            name = name.replace(old, "" if old == ".lora.default" else new)
        found[name.replace(".lora_", ".")] = parameter.grad
    return out.detach(), found


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rslora", [False, True])
def test_outputs_and_every_gradient_are_pefts(name, dtype, rslora, tmp_path):
    model, targets, x = build(name)
    x = x.to(dtype) if x.is_floating_point() else x
    theirs = shaken(with_peft(copy.deepcopy(model), targets, use_rslora=rslora)).to(dtype)
    ours = model.to(dtype)
    theirs.save_pretrained(tmp_path, save_embedding_layers=False)
    load_lora(ours, tmp_path)
    (out, found), (out2, found2) = gradients(ours, x), gradients(theirs, x)
    assert_close(out, out2, **TO_1E_6)
    assert found.keys() == found2.keys()
    assert len(found) == 2 * sum(hasattr(module, "lora_A") for module in theirs.modules())
    for key, gradient in found.items():
        assert gradient.count_nonzero() > 0
        # relative to the size of the gradient as a whole: single numbers in it may cancel to almost zero
        scale = found2[key].abs().max().clamp(min=1)
        assert_close(gradient / scale, found2[key] / scale, **TO_1E_6)


def test_dropout_is_pefts(tmp_path):
    model, targets, x = build("MLP")
    theirs = shaken(with_peft(copy.deepcopy(model), targets, lora_dropout=0.4)).train()
    theirs.save_pretrained(tmp_path)
    load_lora(model.train(), tmp_path)
    torch.manual_seed(5)
    expected = theirs(x)
    torch.manual_seed(5)
    assert_close(model(x), expected, **TO_1E_6)


@pytest.mark.parametrize("name", MODELS)
def test_what_we_save_peft_loads(name, tmp_path):
    import peft

    base, targets, x = build(name)
    ours = copy.deepcopy(base)
    also = ["head"] if name == "each kind of layer" else []
    add_lora(ours, targets, rank=3, alpha=5.0, rslora=True, dropout=0.1, train_also=also)
    shaken(ours).eval()
    if also:
        nn.init.ones_(ours.head.weight)
    save_lora(ours, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # peft warns of keys that it misses or does not know
        theirs = peft.PeftModel.from_pretrained(base, tmp_path).eval()
    assert_close(outputs(ours, x), outputs(theirs, x), **TO_1E_6)
    merge_lora(ours)
    assert_close(outputs(ours, x), outputs(theirs.merge_and_unload(), x), rtol=1e-5, atol=1e-5)


def test_what_peft_saves_we_load_with_the_head_that_learnt(tmp_path):
    base, targets, x = build("each kind of layer")
    theirs = shaken(with_peft(copy.deepcopy(base), targets, modules_to_save=["head"])).eval()
    nn.init.ones_(theirs.base_model.model.head.modules_to_save["default"].weight)
    theirs.save_pretrained(tmp_path)
    assert load_lora(base, tmp_path, name="of_peft") == targets
    assert_close(base.eval()(x), theirs(x), **TO_1E_6)
    again = tmp_path / "again"
    save_lora(base, again, name="of_peft")
    one, other = (load_file(folder / "adapter_model.safetensors") for folder in (tmp_path, again))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`")  # peft's own
@pytest.mark.parametrize("layer", ["lm_head", "embed_tokens"])
def test_base_weights_that_peft_saves_along_must_be_the_models(layer, tmp_path):
    base, x = small_llama(), IDS
    theirs = shaken(with_peft(copy.deepcopy(base), ["q_proj", layer]))
    theirs.save_pretrained(tmp_path)
    key = f"base_model.model.{'' if layer == 'lm_head' else 'model.'}{layer}.base_layer.weight"
    assert key in load_file(tmp_path / "adapter_model.safetensors")
    other = copy.deepcopy(base)
    load_lora(base, tmp_path)
    assert_close(outputs(base, x), outputs(theirs, x), **TO_1E_6)
    with torch.no_grad():
        other.get_submodule("lm_head" if layer == "lm_head" else "model.embed_tokens").weight += 1e-3
    with pytest.raises(ValueError, match=rf"made for another base: .*{layer}\.weight"):
        load_lora(other, tmp_path)


@pytest.mark.filterwarnings("ignore:lora with eva initialization")  # peft's own
@pytest.mark.parametrize("start", ["gaussian", "orthogonal", "eva"])
def test_how_peft_started_an_adapter_does_not_matter(start, tmp_path):
    import peft

    base, targets, x = build("MLP")
    settings = {"eva_config": peft.EvaConfig()} if start == "eva" else {}
    # an even rank, which orthogonal starts ask for
    config = peft.LoraConfig(r=2, target_modules=targets, init_lora_weights=start, **settings)
    theirs = shaken(peft.get_peft_model(copy.deepcopy(base), config))
    theirs.save_pretrained(tmp_path)
    load_lora(base, tmp_path)
    assert_close(base(x), theirs(x), **TO_1E_6)


def test_two_adapters_at_once_are_pefts(tmp_path):
    import peft

    base, targets, x = build("MLP")
    theirs = with_peft(copy.deepcopy(base), targets)
    theirs.add_adapter("second", peft.LoraConfig(r=2, target_modules=["linears.1"]))
    shaken(theirs)
    theirs.save_pretrained(tmp_path)
    load_lora(base, tmp_path, name="default")
    load_lora(base, tmp_path / "second", name="second")
    theirs.base_model.set_adapter(["default", "second"])
    use_lora(base, "default", "second")
    assert_close(base(x), theirs(x), **TO_1E_6)


def test_what_is_more_than_plain_lora_is_refused(tmp_path):
    for settings, message in (
        ({"use_dora": True}, "more than plain LoRA: use_dora=True"),
        ({"rank_pattern": {"linears.0": 2}}, "more than plain LoRA: rank_pattern="),
        ({"init_lora_weights": "pissa"}, "more than plain LoRA: init_lora_weights='pissa'"),
        ({"bias": "all"}, "more than plain LoRA: bias='all'"),
    ):
        base, targets, _ = build("MLP")
        with_peft(copy.deepcopy(base), targets, **settings).save_pretrained(tmp_path)
        with pytest.raises(ValueError, match=message):
            load_lora(base, tmp_path)


def test_prompt_tuning_is_pefts():
    import peft

    theirs = small_llama()
    config = llama(
        vocab_size=7,
        width=16,
        num_layers=2,
        num_heads=4,
        num_kv_heads=2,
        context_length=32,
        feed_forward_width=24,
        norm_eps=1e-6,
    )
    model = Transformer(config)
    model.load_state_dict(llama_weights(theirs.state_dict()))
    ours = PromptTuned(model, 3)
    theirs = peft.get_peft_model(theirs, peft.PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"))
    vectors = theirs.prompt_encoder["default"].embedding.weight
    with torch.no_grad():
        ours.prompt.copy_(vectors)
    out, out2 = ours(IDS), theirs(IDS).logits[:, 3:]
    assert_close(out, out2, **TO_1E_6)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(2))
    (gradient,) = torch.autograd.grad((out * weights).sum(), [ours.prompt])
    (gradient2,) = torch.autograd.grad((out2 * weights).sum(), [vectors])
    assert gradient.count_nonzero() == gradient.numel()
    assert_close(gradient, gradient2, **TO_1E_6)
