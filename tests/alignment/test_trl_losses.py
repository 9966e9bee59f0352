"""DPO, IPO, KTO and GRPO against trl 1.16: its own loss functions on the same weights, tokens and masks.

trl's defaults differ from the papers' in what it calls by the same name: its "ipo" divides by the number of tokens (the
paper sums), its GRPO has no KL penalty (DeepSeekMath: 0.04) and averages as DAPO does unless ``loss_type`` says
otherwise. Here each is set to the variant that is meant.
"""

from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close

from course_lib.alignment import (
    GRPOBatch,
    Preferences,
    direct_batch,
    dpo_objective,
    grpo_objective,
    ipo_objective,
    kto_batch,
    kto_objective,
    sequence_log_probs,
)
from course_lib.nn.transformer import Transformer, llama


class _Accelerator:
    """One process: gathering changes nothing."""

    device = torch.device("cpu")
    num_processes = 1

    def gather(self, values):
        return values

    gather_for_metrics = gather

    def reduce(self, values, reduction):
        return values


class _HuggingFace:
    """Our model with the calling convention that trl's losses use."""

    training = True

    def __init__(self, model):
        self.model = model

    def __call__(self, input_ids, labels, **_):
        mask = labels != -100
        log_probs = sequence_log_probs(self.model, input_ids, mask)[:, 1:]
        nothing = torch.zeros_like(log_probs)
        return SimpleNamespace(log_probs=log_probs, entropy=nothing, mean_logits=nothing, is_top1=nothing.bool())


def trainer(kind, model, **settings):
    """A trl trainer without its constructor, which wants a Hugging Face model: its loss needs no more than this."""
    made = object.__new__(kind)
    common = {"accelerator": _Accelerator(), "_metrics": {"train": defaultdict(list)}, "aux_loss_enabled": False}
    more = {"model": model, "_total_train_tokens": 0, "_tp_size": 1, "precompute_ref_logps": True}
    for name, value in (common | more | settings).items():
        setattr(made, name, value)
    return made


@pytest.fixture
def models():
    config = llama(vocab_size=11, width=8, num_layers=1, num_heads=2, context_length=12)
    return [Transformer(config, generator=torch.Generator().manual_seed(seed)).double() for seed in (0, 1)]


@pytest.fixture
def pairs():
    prompts = [[1], [2, 3, 4], [5, 5]]
    return Preferences(prompts, [[2, 3, 9], [9], [1, 2, 3, 4, 9]], [[4, 9], [8, 8, 8], [3]], torch.ones(3))


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return [weight.grad.clone() for weight in model.parameters()]


def assert_same(model, ours, theirs):
    """Loss and every gradient; both sides compute in float64, trl's constants included."""
    assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    for mine, other in zip(gradients(model, ours), gradients(model, theirs), strict=True):
        assert_close(mine, other, rtol=1e-7, atol=1e-11)


@pytest.mark.parametrize(
    ("objective", "loss_type"),
    [(dpo_objective(beta=0.3), "sigmoid"), (ipo_objective(beta=0.3, per_token=True), "ipo")],
)
def test_pairs(models, pairs, objective, loss_type):
    from trl import DPOTrainer

    policy, reference = models
    batch = direct_batch(pairs, reference)
    made = trainer(
        DPOTrainer,
        _HuggingFace(policy),
        loss_types=[loss_type],
        loss_weights=[1.0],
        beta=0.3,
        ld_alpha=None,
        f_divergence_type="reverse_kl",
        label_smoothing=0.0,
        use_weighting=False,
    )
    inputs = {
        "input_ids": torch.cat([batch.chosen, batch.rejected]),
        "attention_mask": torch.ones(6, batch.chosen.shape[1]),
        "completion_mask": torch.cat([batch.chosen_mask, batch.rejected_mask]).long(),
        "ref_chosen_logps": batch.reference_chosen,
        "ref_rejected_logps": batch.reference_rejected,
    }
    theirs = made._compute_loss(made.model, inputs, return_outputs=False)
    ours = objective(policy, batch)
    assert_same(policy, ours.total / ours.count, theirs)
    metrics = {name: values[-1] for name, values in made._metrics["train"].items()}
    assert metrics["rewards/accuracies"] == pytest.approx(ours.metrics["accuracy"].item() / 3)
    assert metrics["rewards/margins"] == pytest.approx(ours.metrics["margin"].item() / 3)
    assert metrics["logps/chosen"] == pytest.approx(ours.metrics["chosen_log_prob"].item() / 3)
    assert metrics["logps/rejected"] == pytest.approx(ours.metrics["rejected_log_prob"].item() / 3)


@pytest.mark.parametrize("swapped", [False, True])  # one way round the reference point is clamped at 0
def test_kto(models, pairs, swapped):
    from trl import KTOTrainer

    policy, reference = reversed(models) if swapped else models
    batch = kto_batch(pairs, reference)
    made = trainer(
        KTOTrainer,
        _HuggingFace(policy),
        calculate_KL=True,
        loss_type="kto",
        beta=0.3,
        desirable_weight=1.25,
        undesirable_weight=0.75,
    )
    inputs = {
        "input_ids": batch.tokens,
        "attention_mask": torch.ones_like(batch.tokens),
        "completion_mask": batch.mask.long(),
        "KL_input_ids": batch.mismatched,
        "KL_attention_mask": torch.ones_like(batch.mismatched),
        "KL_completion_mask": batch.mismatched_mask.long(),
        "label": batch.desirable,
        "ref_logps": batch.reference,
        "ref_KL_logps": batch.mismatched_reference,
    }
    theirs = made._compute_loss(made.model, inputs, return_outputs=False)
    ours = kto_objective(beta=0.3, desirable_weight=1.25, undesirable_weight=0.75)(policy, batch)
    assert_same(policy, ours.total, theirs)
    assert made._metrics["train"]["kl"] == [pytest.approx(ours.metrics["reference_point"].item())]


@pytest.mark.parametrize(
    ("loss_type", "settings"),
    [("grpo", {}), ("dapo", {"average": "token"}), ("dr_grpo", {"average": "constant", "max_tokens": 6})],
)
@pytest.mark.parametrize("kl_coefficient", [0.0, 0.04])
def test_groups(models, loss_type, settings, kl_coefficient):
    from trl import GRPOTrainer

    policy, reference = models
    tokens = torch.tensor([[1, 2, 3, 4, 5], [1, 2, 7, 0, 0], [3, 4, 9, 9, 0], [3, 4, 0, 0, 0]])
    mask = torch.tensor([[0, 0, 1, 1, 1], [0, 0, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]]).bool()
    generator = torch.Generator().manual_seed(0)
    now = sequence_log_probs(policy, tokens, mask).detach()
    old = (now + 0.3 * torch.randn(now.shape, generator=generator, dtype=torch.float64)) * mask
    advantages = torch.tensor([1.5, -0.5, 0.7, -1.7], dtype=torch.float64)
    batch = GRPOBatch(tokens, mask, old, advantages, sequence_log_probs(reference, tokens, mask).detach())

    def per_token(model, *args, **kwargs):
        log_probs = sequence_log_probs(policy, tokens, mask)[:, 2:]
        return log_probs, torch.zeros_like(log_probs), None

    made = trainer(
        GRPOTrainer,
        _HuggingFace(policy),
        args=SimpleNamespace(delta=None, use_bias_correction_kl=False, steps_per_generation=1),
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        importance_sampling_level="token",
        beta=kl_coefficient,
        loss_type=loss_type,
        epsilon_low=0.2,
        epsilon_high=0.28,
        use_vllm=False,
        max_completion_length=6,
        current_gradient_accumulation_steps=1,
        _entropy_bonus_enabled=False,
        _get_per_token_logps_and_entropies=per_token,
    )
    inputs = {
        "prompt_ids": tokens[:, :2],
        "prompt_mask": torch.ones(4, 2).long(),
        "completion_ids": tokens[:, 2:],
        "completion_mask": mask[:, 2:].long(),
        "advantages": advantages,
        "old_per_token_logps": old[:, 2:],
        "ref_per_token_logps": batch.reference_log_probs[:, 2:],
        "num_items_in_batch": mask.sum(),
    }
    theirs = made._compute_loss(made.model, inputs)
    ours = grpo_objective(clip=0.2, clip_high=0.28, kl_coefficient=kl_coefficient, **settings)(policy, batch)
    assert_same(policy, ours.total / ours.count, theirs)
