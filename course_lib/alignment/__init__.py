"""Teaching a language model what is wanted: demonstrations, preferences, rewards, and the objectives that use them."""

from course_lib.alignment.conversations.replies import Chat
from course_lib.alignment.conversations.sft import chat_batch, pack_chats
from course_lib.alignment.conversations.template import ChatExample, ChatTemplate
from course_lib.alignment.direct.closed_form import optimal_policy, regularised_reward
from course_lib.alignment.direct.kto import KTOBatch, kto_batch, kto_loss, kto_objective, kto_reference_point
from course_lib.alignment.direct.losses import dpo_loss, implicit_reward, ipo_loss
from course_lib.alignment.direct.objectives import (
    DirectBatch,
    direct_batch,
    dpo_objective,
    ipo_objective,
    reference_log_probs,
)
from course_lib.alignment.grpo.objective import GRPOBatch, group_advantages, grpo_objective
from course_lib.alignment.grpo.stream import GroupStream
from course_lib.alignment.grpo.verifiable import count_right, verified_reward
from course_lib.alignment.judge import Judge
from course_lib.alignment.raters.annotators import cohen_kappa, fleiss_kappa, majority_vote
from course_lib.alignment.raters.dawid_skene import DawidSkene, dawid_skene
from course_lib.alignment.raters.preferences import PreferenceBatch, Preferences, joined, preference_pairs
from course_lib.alignment.raters.rater import SimulatedRater, annotate
from course_lib.alignment.rewards.length_bias import LengthAside, length_slope
from course_lib.alignment.rewards.loss import bradley_terry, reward_objective
from course_lib.alignment.rewards.measures import Calibration, reward_accuracy, reward_calibration
from course_lib.alignment.rewards.model import (
    NonFiniteReward,
    RewardModel,
    centre,
    check_rewards,
    completion_features,
    score_completions,
    score_packed,
)
from course_lib.alignment.rewards.selection import best_of_n, best_of_n_curve, best_of_n_kl, pass_at_k, rejection_sample
from course_lib.alignment.stories.instructions import (
    Following,
    Instruction,
    demonstrations,
    follows,
    story_instructions,
)
from course_lib.alignment.stories.principles import Judgement, Principle, judgements, written_principles
from course_lib.alignment.stories.refusals import (
    RefusalCounts,
    RefusalRule,
    count_refusals,
    forbidden_requests,
    near_requests,
    refusal_demonstrations,
)
from course_lib.alignment.stories.styles import in_style, style_of, without_style
from course_lib.alignment.stories.taste import TasteWeights, story_taste
from course_lib.alignment.stories.told import told
from course_lib.alignment.tokens.kl import KLController, KLEstimates, exact_kl, kl_estimates
from course_lib.alignment.tokens.policy_and_value import PolicyAndValue, TokenJudged
from course_lib.alignment.tokens.ppo import TokenBatch, token_ppo_objective
from course_lib.alignment.tokens.prompt_pool import PromptPool
from course_lib.alignment.tokens.reference import Reference
from course_lib.alignment.tokens.rewards import token_advantages, token_rewards, whiten
from course_lib.alignment.tokens.rollouts import (
    Packed,
    TokenRollout,
    pack_completions,
    sample_completions,
    sequence_log_probs,
)
from course_lib.alignment.tokens.stream import CompletionStream

__all__ = [
    "Calibration",
    "Chat",
    "ChatExample",
    "ChatTemplate",
    "CompletionStream",
    "DawidSkene",
    "DirectBatch",
    "Following",
    "GRPOBatch",
    "GroupStream",
    "Instruction",
    "Judge",
    "Judgement",
    "KLController",
    "KLEstimates",
    "KTOBatch",
    "LengthAside",
    "NonFiniteReward",
    "Packed",
    "PolicyAndValue",
    "PreferenceBatch",
    "Preferences",
    "Principle",
    "PromptPool",
    "Reference",
    "RefusalCounts",
    "RefusalRule",
    "RewardModel",
    "SimulatedRater",
    "TasteWeights",
    "TokenBatch",
    "TokenJudged",
    "TokenRollout",
    "annotate",
    "best_of_n",
    "best_of_n_curve",
    "best_of_n_kl",
    "bradley_terry",
    "centre",
    "chat_batch",
    "check_rewards",
    "cohen_kappa",
    "completion_features",
    "count_refusals",
    "count_right",
    "dawid_skene",
    "demonstrations",
    "direct_batch",
    "dpo_loss",
    "dpo_objective",
    "exact_kl",
    "fleiss_kappa",
    "follows",
    "forbidden_requests",
    "group_advantages",
    "grpo_objective",
    "implicit_reward",
    "in_style",
    "ipo_loss",
    "ipo_objective",
    "joined",
    "judgements",
    "kl_estimates",
    "kto_batch",
    "kto_loss",
    "kto_objective",
    "kto_reference_point",
    "length_slope",
    "majority_vote",
    "near_requests",
    "optimal_policy",
    "pack_chats",
    "pack_completions",
    "pass_at_k",
    "preference_pairs",
    "reference_log_probs",
    "refusal_demonstrations",
    "regularised_reward",
    "rejection_sample",
    "reward_accuracy",
    "reward_calibration",
    "reward_objective",
    "sample_completions",
    "score_completions",
    "score_packed",
    "sequence_log_probs",
    "story_instructions",
    "story_taste",
    "style_of",
    "token_advantages",
    "token_ppo_objective",
    "token_rewards",
    "told",
    "verified_reward",
    "whiten",
    "without_style",
    "written_principles",
]
