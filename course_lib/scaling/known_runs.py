"""Training runs of which something was published: size, data, compute, time, energy, carbon and price."""

from __future__ import annotations

from dataclasses import dataclass

from course_lib.scaling.sources import Source, Sourced

_PATTERSON = Source(
    "Carbon emissions and large neural network training, table 4",
    "Patterson et al.",
    "2021",
    "https://arxiv.org/abs/2104.10350",
)
_BROWN = Source("Language models are few-shot learners", "Brown et al.", "2020", "https://arxiv.org/abs/2005.14165")
_HOFFMANN = Source(
    "Training compute-optimal large language models", "Hoffmann et al.", "2022", "https://arxiv.org/abs/2203.15556"
)
_LUCCIONI = Source(
    "Estimating the carbon footprint of BLOOM", "Luccioni et al.", "2022", "https://arxiv.org/abs/2211.02001"
)
_BLOOM = Source(
    "BLOOM, a 176B-parameter open-access language model", "BigScience", "2022", "https://arxiv.org/abs/2211.05100"
)
_LLAMA_3 = Source("The Llama 3 herd of models", "Meta", "July 2024", "https://arxiv.org/abs/2407.21783")
_LLAMA_CARD = Source("Llama 3.1 model card", "Meta", "2024-07-23", "https://github.com/meta-llama/llama-models")
_DEEPSEEK = Source("DeepSeek-V3 technical report", "DeepSeek-AI", "December 2024", "https://arxiv.org/abs/2412.19437")
_AI_INDEX = Source(
    "AI Index report 2024, from Epoch AI", "Stanford HAI", "April 2024", "https://arxiv.org/abs/2405.19522"
)

FINAL_RUN = "compute of the final run only, at rental prices: no experiments, staff or data"


@dataclass(frozen=True, slots=True)
class KnownRun:
    """One run. What nobody has published is None; what is worked out from published figures says so in its note.

    Args:
        name: Of the model.
        num_parameters: That each token goes through (fewer than all in a mixture of experts).
        num_tokens: Of pretraining.
        flops: Of training.
        chip_hours: Of training.
        megawatt_hours: Of electricity.
        tonnes_co2e: Of greenhouse gases.
        dollars: The price, with what it covers in the note.
    """

    name: str
    num_parameters: Sourced | None = None
    num_tokens: Sourced | None = None
    flops: Sourced | None = None
    chip_hours: Sourced | None = None
    megawatt_hours: Sourced | None = None
    tonnes_co2e: Sourced | None = None
    dollars: Sourced | None = None


def _parameters(value: float, source: Source, note: str = "") -> Sourced:
    return Sourced(value, "parameters", source, note)


def _tokens(value: float, source: Source, note: str = "") -> Sourced:
    return Sourced(value, "tokens", source, note)


def _flops(value: float, source: Source, note: str = "") -> Sourced:
    return Sourced(value, "FLOP", source, note)


def _dollars(value: float, source: Source, note: str) -> Sourced:
    return Sourced(value, "US dollars", source, note)


KNOWN_RUNS: tuple[KnownRun, ...] = (
    KnownRun(
        "GPT-3 175B",
        _parameters(175e9, _BROWN),
        _tokens(300e9, _BROWN),
        _flops(3.14e23, _BROWN, "appendix D"),
        megawatt_hours=Sourced(1287, "MWh", _PATTERSON, "estimated from the FLOP; with PUE 1.10"),
        tonnes_co2e=Sourced(552, "t CO2e", _PATTERSON, "at 429 g a kWh; final run only"),
        dollars=_dollars(4.3e6, _AI_INDEX, FINAL_RUN),
    ),
    KnownRun(
        "Gopher 280B",
        _parameters(280e9, _HOFFMANN),
        _tokens(300e9, _HOFFMANN),
        _flops(5.76e23, _HOFFMANN),
    ),
    KnownRun(
        "Chinchilla 70B",
        _parameters(70e9, _HOFFMANN),
        _tokens(1.4e12, _HOFFMANN),
        _flops(5.76e23, _HOFFMANN, "the same budget as Gopher's"),
    ),
    KnownRun(
        "BLOOM 176B",
        _parameters(176e9, _BLOOM),
        _tokens(366e9, _BLOOM),
        _flops(6 * 176e9 * 366e9, _BLOOM, "worked out as 6 N D"),
        Sourced(1.083e6, "A100 hours", _LUCCIONI),
        Sourced(433, "MWh", _LUCCIONI, "of the GPUs"),
        Sourced(24.7, "t CO2e", _LUCCIONI, "that electricity at 57 g a kWh; 50.5 t with idle nodes and manufacture"),
    ),
    KnownRun(
        "Llama 3.1 405B",
        _parameters(405e9, _LLAMA_3),
        _tokens(15.6e12, _LLAMA_3),
        _flops(3.8e25, _LLAMA_3),
        Sourced(30.84e6, "H100 hours", _LLAMA_CARD),
        Sourced(30.84e6 * 700e-6, "MWh", _LLAMA_CARD, "worked out as hours times 700 W: GPUs alone, without the PUE"),
        Sourced(8930, "t CO2e", _LLAMA_CARD, "location-based; market-based 0"),
    ),
    KnownRun(
        "DeepSeek-V3",
        _parameters(37e9, _DEEPSEEK, "active; 671 billion in all"),
        _tokens(14.8e12, _DEEPSEEK),
        _flops(6 * 37e9 * 14.8e12, _DEEPSEEK, "worked out as 6 N D over active parameters; in FP8"),
        Sourced(2.788e6, "H800 hours", _DEEPSEEK, "2.664 million of them pretraining"),
        dollars=_dollars(5.576e6, _DEEPSEEK, "final run at an assumed $2 an hour; research and ablations left out"),
    ),
    KnownRun(
        "GPT-4",
        dollars=_dollars(78.4e6, _AI_INDEX, f"an outside estimate; {FINAL_RUN}"),
    ),
    KnownRun(
        "Gemini Ultra",
        dollars=_dollars(191e6, _AI_INDEX, f"an outside estimate; {FINAL_RUN}"),
    ),
)
