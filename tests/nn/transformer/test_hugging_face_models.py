"""Other people's implementations with the same random weights: GPT-2, Llama and its kin, BERT, BART."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from course_lib.nn.transformer import EncoderDecoder, Transformer, bert, generate, gpt, llama
from course_lib.nn.transformer.hugging_face import bart_weights, bert_weights, gpt2_weights, llama_weights

SIZES = {"vocab_size": 60, "width": 32, "num_layers": 3, "num_heads": 4, "context_length": 48}
CLOSE = {"rtol": 1e-5, "atol": 1e-5}  # float32
TOKENS = {"bos_token_id": 0, "eos_token_id": 0}


@pytest.fixture
def text():
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randint(0, 60, shape, generator=generator)


def shaken(model):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def their_llama(**options):
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = {
        "vocab_size": 60,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 48,
        "rms_norm_eps": 1e-5,
    }
    return shaken(LlamaForCausalLM(LlamaConfig(**shape | TOKENS | options)))


def our_llama(weights, **options):
    model = Transformer(llama(**SIZES, feed_forward_width=48, **options))
    model.load_state_dict(llama_weights(weights, tied=model.config.tied))
    return model.eval()


def their_gpt2():
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=60, n_embd=32, n_layer=3, n_head=4, n_positions=48, **TOKENS)
    return shaken(GPT2LMHeadModel(config))


def our_gpt2(weights, fused=False):
    model = Transformer(gpt(**SIZES, fused_projections=fused))
    model.load_state_dict(gpt2_weights(weights, fused=fused))
    return model.eval()


def assert_same_gradients(ours, theirs, convert, tokens):
    logits = ours(tokens)
    weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(2))
    (logits * weights).mean().backward()
    (theirs(tokens).logits * weights).mean().backward()
    gradients = convert({name: parameter.grad for name, parameter in theirs.named_parameters()})
    assert gradients.keys() == dict(ours.named_parameters()).keys()
    largest = max(gradient.abs().max().item() for gradient in gradients.values())
    for name, parameter in ours.named_parameters():
        assert_close(parameter.grad, gradients[name], rtol=1e-4, atol=1e-5 * largest)


@pytest.mark.parametrize("fused", [False, True])
def test_gpt2_has_the_same_logits(text, fused):
    theirs, tokens = their_gpt2(), text(3, 20)
    assert_close(our_gpt2(theirs.state_dict(), fused)(tokens), theirs(tokens).logits, **CLOSE)
    assert_close(our_gpt2(theirs.transformer.state_dict(), fused)(tokens), theirs(tokens).logits, **CLOSE)


def test_gpt2_has_the_same_gradients(text):
    theirs = their_gpt2()
    assert_same_gradients(our_gpt2(theirs.state_dict()), theirs, gpt2_weights, text(3, 20))


def test_gpt2_writes_the_same_with_padding(text):
    theirs = their_gpt2()
    prompts = [text(9).tolist(), text(4).tolist()]
    out = generate(our_gpt2(theirs.state_dict()), prompts, max_new_tokens=20, temperature=0)
    padded = torch.tensor([prompts[0], [0] * 5 + prompts[1]])
    mask = torch.tensor([[1] * 9, [0] * 5 + [1] * 4])
    written = theirs.generate(
        padded, attention_mask=mask, max_new_tokens=20, do_sample=False, eos_token_id=None, pad_token_id=0
    )
    assert out.tokens.tolist() == written[:, 9:].tolist()


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("tied", [False, True])
def test_llama_has_the_same_logits(text, kv_heads, tied):
    theirs, tokens = their_llama(num_key_value_heads=kv_heads, tie_word_embeddings=tied), text(3, 20)
    ours = our_llama(theirs.state_dict(), num_kv_heads=kv_heads, tied=tied)
    assert_close(ours(tokens), theirs(tokens).logits, **CLOSE)


def test_llama_has_the_same_gradients(text):
    theirs = their_llama(num_key_value_heads=2)
    assert_same_gradients(our_llama(theirs.state_dict(), num_kv_heads=2), theirs, llama_weights, text(3, 20))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"rope_scaling": "linear"}, {"rope_type": "linear"}),
        ({"rope_scaling": "yarn"}, {"rope_type": "yarn", "original_max_position_embeddings": 12}),
        (
            {"rope_scaling": "llama3"},
            {
                "rope_type": "llama3",
                "original_max_position_embeddings": 12,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
            },
        ),
    ],
    ids=["linear", "yarn", "llama3"],
)
def test_llama_with_a_longer_context_has_the_same_logits(text, ours, theirs):
    parameters = {"rope_theta": 100.0, "factor": 4.0} | theirs
    their_model, tokens = their_llama(rope_parameters=parameters), text(2, 48)
    our_model = our_llama(their_model.state_dict(), rope_base=100.0, rope_factor=4.0, **ours)
    assert_close(our_model(tokens), their_model(tokens).logits, **CLOSE)


def test_mistrals_window_is_ours(text):
    from transformers import MistralConfig, MistralForCausalLM

    config = MistralConfig(
        vocab_size=60,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=48,
        rms_norm_eps=1e-5,
        sliding_window=5,
        **TOKENS,
    )
    theirs, tokens = shaken(MistralForCausalLM(config)), text(3, 20)
    ours = our_llama(theirs.state_dict(), num_kv_heads=2, window=5)
    assert_close(ours(tokens), theirs(tokens).logits, **CLOSE)


def test_qwens_norm_of_queries_and_keys_is_ours(text):
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=60,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=48,
        rms_norm_eps=1e-5,
        **TOKENS,
    )
    theirs, tokens = shaken(Qwen3ForCausalLM(config)), text(3, 20)
    ours = our_llama(theirs.state_dict(), num_kv_heads=2, qk_norm=True)
    assert_close(ours(tokens), theirs(tokens).logits, **CLOSE)


def test_bert_has_the_same_hidden_states(text):
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=60,
        hidden_size=32,
        intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=48,
    )
    theirs, tokens = shaken(BertForMaskedLM(config)), text(3, 20)
    mask = torch.arange(20) < torch.tensor([[20], [7], [13]])
    ours = Transformer(bert(**SIZES), head=False).eval()
    ours.load_state_dict(bert_weights(theirs.state_dict()))
    hidden = theirs.bert(tokens, attention_mask=mask.long()).last_hidden_state
    assert_close(ours(tokens, mask=mask)[mask], hidden[mask], **CLOSE)


def test_bart_has_the_same_logits(text):
    from transformers import BartConfig, BartForConditionalGeneration

    config = BartConfig(
        vocab_size=60,
        d_model=32,
        encoder_layers=3,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
        max_position_embeddings=48,
    )
    theirs, source, target = shaken(BartForConditionalGeneration(config)), text(3, 20), text(3, 9)
    mask = torch.arange(20) < torch.tensor([[20], [7], [13]])
    encoder = bert(**SIZES, norm_eps=1e-5)
    ours = EncoderDecoder(encoder, replace(encoder, causal=True, num_layers=2)).eval()
    ours.load_state_dict(bart_weights(theirs.state_dict()))
    expected = theirs(input_ids=source, attention_mask=mask.long(), decoder_input_ids=target).logits
    assert expected.std() > 0.1
    assert_close(ours(source, target, source_mask=mask), expected, **CLOSE)


def test_what_bert_lacks_is_named():
    with pytest.raises(ValueError, match=r"'embeddings.position_embeddings.weight' is missing"):
        bert_weights({})
    with pytest.raises(ValueError, match=r"'embeddings.token_type_embeddings.weight' is missing"):
        bert_weights({"bert.embeddings.position_embeddings.weight": torch.zeros(4, 2)})


@pytest.mark.parametrize("convert", [gpt2_weights, llama_weights, bert_weights, bart_weights])
def test_another_familys_weights_are_named(convert):
    with pytest.raises(ValueError, match=r"'rnn.weight_ih_l0' is not a weight of this family of models"):
        convert({"rnn.weight_ih_l0": torch.zeros(1)})
