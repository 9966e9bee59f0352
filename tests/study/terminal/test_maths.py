"""Formulas in the terminal: Unicode where there is some, the source where there is none, and never broken Markdown."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.study.terminal.maths import readable, to_unicode


@pytest.mark.parametrize(
    ("latex", "shown"),
    [
        (r"\theta \leftarrow \theta - \eta \nabla_\theta L", "θ ← θ − η ∇_θ L"),
        (r"\|w\|_2^2 \le \lambda", "‖w‖₂² ≤ λ"),
        (r"\mathbb{E}_{x}[\ell(f(x), y)]", "𝔼ₓ[ℓ(f(x), y)]"),
        (r"\frac{a+b}{2n}", "(a+b)/2n"),
        (r"\frac12 \sum_{i=1}^{n} x_i", "1/2 ∑ᵢ₌₁ⁿ xᵢ"),
        (r"\sqrt{2\log(2/\delta)/n}", "√(2log(2/δ)/n)"),
        (r"\hat{\theta}_{t+1}, \bar x", "θ̂ₜ₊₁, x̄"),
        (r"W^\top x + b", "Wᵀ x + b"),
        (r"10^{-3}", "10⁻³"),
        (r"p_\theta(y \mid x)", "p_θ(y | x)"),
        (r"x_{t,k}", "x_(t,k)"),
        (r"\left(a\right. \right)^{(i)}", "(a )⁽ⁱ⁾"),
        (r"\operatorname{softmax}(z)_i \text{ is } 90\,\%", "softmax(z)ᵢ  is  90 %"),
        (r"f' \in \{0, 1\}", "f′ ∈ {0, 1}"),
    ],
)
def test_common_formulas(latex, shown):
    assert to_unicode(latex) == shown


@pytest.mark.parametrize(
    "latex", [r"\begin{bmatrix}1\end{bmatrix}", r"\unknown{x}", r"x^", r"{x", r"x}", r"a & b", r"\\"]
)
def test_what_has_no_line_of_unicode_says_so(latex):
    assert to_unicode(latex) is None


def test_unknown_formulas_stay_as_their_source():
    assert readable(r"so $\unknown{x}$") == r"so $\\unknown{x}$"


def test_code_and_currency_are_left_alone():
    text = "costs \\$5, `a $x_1$ b`, ``c ` $y$``\n\n```\n$z$\n```\n"
    assert readable(text) == text
    assert readable("5 $ and 6 $") == "5 $ and 6 $"  # a space inside: no formula


def test_a_displayed_formula_gets_its_own_paragraph():
    assert readable("so $$a*b$$ holds") == "so \n\na\\*b\n\n holds"


def test_markdown_in_a_formula_means_nothing():
    assert readable("$a_{t,k} * b * c$") == "a\\_(t,k) \\* b \\* c"


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.text(alphabet="\\{}^_$ab1 +`*[]()~frac", max_size=30))
def test_no_input_breaks_it(text):
    readable(text)
    shown = to_unicode(text)
    assert shown is None or "\\" not in shown
