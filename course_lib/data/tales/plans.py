"""The order of sentences in a tale, and how its ending hangs on the wish and on the hero's kindness."""

from __future__ import annotations

# One line a plan, in order of falling probability; a sentence for each word. "tale" opens and wishes in one sentence.
# A tale whose hero is sorry has one sentence more, "sorry", before the outcome. Advice and company need a friend,
# a dream come true needs its reason.
PLANS = """
opening wish meeting deed outcome closing
tale meeting deed outcome closing
opening wish meeting deed outcome joy
tale meeting deed outcome
tale journey meeting deed outcome joy
opening friend wish meeting deed outcome company
tale meeting plea deed outcome closing
tale friend meeting deed outcome company
opening wish reason meeting deed outcome dream
tale reason meeting deed outcome dream
opening habit wish meeting deed outcome
tale meeting deed outcome joy closing
opening wish meeting plea deed outcome
tale habit meeting deed outcome joy
opening friend wish advice meeting deed outcome closing
tale meeting deed night outcome closing
tale friend advice meeting deed outcome company
tale journey meeting deed outcome
opening wish journey meeting deed outcome joy
opening wish meeting deed night outcome closing
tale reason journey meeting deed outcome dream
opening friend wish meeting plea deed outcome company
tale friend journey meeting deed outcome closing
opening wish reason meeting plea deed outcome dream
tale habit reason meeting deed night outcome dream
tale friend reason meeting deed outcome dream company
opening habit wish journey meeting deed outcome closing
opening habit friend wish meeting deed outcome company
opening friend wish advice meeting plea deed outcome company
tale reason journey meeting plea deed outcome dream joy
opening habit wish reason journey meeting deed outcome dream
opening friend wish advice journey meeting deed night outcome company
"""

KINDNESS = {"kind": 0.55, "unkind": 0.25, "sorry": 0.2}

# Probability of each ending, by whether the wish is grand (hardly ever granted) and by kindness.
ENDING = {
    ("modest", "kind"): {"well": 0.85, "gently": 0.15},
    ("modest", "sorry"): {"well": 0.5, "gently": 0.5},
    ("modest", "unkind"): {"badly": 1.0},
    ("grand", "kind"): {"well": 0.3, "gently": 0.7},
    ("grand", "sorry"): {"gently": 0.8, "badly": 0.2},
    ("grand", "unkind"): {"badly": 1.0},
}
