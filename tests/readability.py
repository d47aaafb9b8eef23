"""How hard a text is to read, and whether it says something twice."""

from __future__ import annotations

import re
from itertools import combinations

#: Terms of the field: a reader of the day knows them, however many syllables they have.
_TERMS = """
    activation activations adam affine argument arguments autograd average averaged averages batch beta
    bias biased buffer buffers channel channels column columns condition convolution convolutions correlated
    correlation correlations cosine covariance derivative derivatives deviation deviations diagonal dimension
    dimensions dropout eigenvalue eigenvalues eigenvectors entries entry epsilon euclidean evaluation
    exponential feature features gamma gradient gradients hessian inference initialization iteration
    iterations jacobian kernel kernels layer layers logarithm logarithms matrices matrix module modules
    momentum nesterov normalization normalize normalized normalizes normalizing optimizer orthogonal
    orthogonalized padding parameter parameters probability python pytorch quotient rayleigh recalibrate
    running sample samples singular spectral standard standardization standardize standardized statistic
    statistics symmetric tensor tensors trainable transposed unbiased variance variances velocity
    velocities whitening
"""
TERMS = frozenset(_TERMS.split())
#: Words that carry no meaning of their own.
_SMALL = """
    a all also an and are as at be been but by each every for from had has have here if in into is it its
    more no not of on one only or other so than that the them then there these they this those to what when
    where which with would you your yours does
"""
SMALL = frozenset(_SMALL.split())
_FORMULA = re.compile(r"[\d_=/√²³·×ᵀ+−^*∞λκ‖()\[\]-]|\w\.\w|[A-Z]{2}")


def sentences(text: str) -> list[str]:
    """The sentences of a text."""
    return [one for one in re.split(r"(?<=[.?!])[\"')»]*\s+", text.strip()) if one]


def words(text: str) -> list[str]:
    """What stands between spaces and has a letter or a digit; code between backquotes is one word."""
    return [word for word in re.sub(r"`[^`]*`", "`0`", text).split() if re.search(r"\w", word)]


def grade(text: str) -> float:
    """The grade by Flesch and Kincaid (1975): 0.39 words a sentence + 11.8 syllables a word − 15.59.

    All words count in the length of sentences. Of those whose syllables are counted, formulas, code and
    TERMS are left out.
    """
    told = [word.strip(".,;:?!()«»\"'") for word in words(text)]
    plain = [w for w in told if len(w) > 1 and not _FORMULA.search(w) and w.lower() not in TERMS]
    syllables = sum(map(_syllables, plain)) / max(len(plain), 1)
    return 0.39 * len(told) / len(sentences(text)) + 11.8 * syllables - 15.59


def _syllables(word: str) -> int:
    """Groups of vowels, without an e that is not spoken."""
    word = re.sub(r"[^a-z]", "", word.lower())
    groups = len(re.findall(r"[aeiouy]+", word))
    if re.search(r"[^aeiouyl]e$|[^aeioutdy]ed$|[^aeiousxzhcgl]es$", word) and groups > 1:
        groups -= 1
    return max(groups, 1)


def said_twice(text: str, most: float = 0.6) -> tuple[str, str] | None:
    """Two sentences of which the shorter shares more than `most` of its words with the other; or None.

    Formulas and SMALL words aside; of fewer than five words, a sentence may well point back to another.
    """
    held = [(one, _meaning(one)) for one in sentences(text)]
    for (one, first), (other, second) in combinations(held, 2):
        shorter = min(len(first), len(second))
        if shorter >= 5 and len(first & second) > most * shorter:
            return one, other
    return None


def _meaning(sentence: str) -> set[str]:
    found = (word.strip(".,;:?!()«»\"'").lower() for word in words(sentence))
    return {word for word in found if len(word) > 2 and word not in SMALL and not _FORMULA.search(word)}
