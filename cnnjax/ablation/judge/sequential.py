"""Paired tests that may be inspected after every seed.

A fixed-n p-value that is inspected again and again until it is small falls below 0.05
far too often. The numbers here hold at all sample sizes at once, so seeds may be added
for any reason, and the test may stop at any time.

The evidence after n seeds is a Bayes factor: the likelihood of the t statistic when the
standardised effect is drawn from N(0, g), over its likelihood when the effect is zero.
Whatever the standard deviation, it is a nonnegative martingale of mean 1 if there is no
effect, so by Ville's inequality the probability that it ever reaches 1 / alpha is at
most alpha. So 1 over the evidence *of the seeds that there are* is a p-value whenever
one stops, and the interval has the margins whose p is at least alpha: the two agree.
Like the t test it assumes normal differences. For differences with a heavy tail there
is the same for signs alone, which assumes that each is as often above as below.

Stopping for futility costs no error of this kind, because every way of stopping is
covered; it costs power, see `power.chance_to_decide`.

Source: Lai 1976, "On confidence sequences"; Rouder et al. 2009, "Bayesian t tests"
(the integrand of equation 1, with a normal prior); Wang and Ramdas 2024, "Anytime-valid
t-tests and confidence sequences for Gaussian means with unknown variance", arXiv
2310.03722, section 4 (scale-invariant mixture). For several claims: Holm's method on
the p-values, which are valid at any moment.
"""

import math

# Variance of the standardised effect under the alternative: that of one seed.
PRIOR_VARIANCE = 1.0


def log_evidence(t: float, n: int) -> float:
    """Logarithm of the Bayes factor of n differences with this t statistic.

    Args:
      t: t statistic of the mean against the margin; may be infinite.
      n: number of differences, at least 2.
    """
    growth = 1 + n * PRIOR_VARIANCE
    if math.isinf(t):
        return 0.5 * (n - 1) * math.log(growth)
    share = t * t / (n - 1)
    ratio = math.log1p(share) - math.log1p(share / growth)
    return 0.5 * (n * ratio - math.log(growth))


def evidence_of_signs(agreeing: int, n: int) -> float:
    """Logarithm of the evidence of n signs of which so many agree.

    A Bayes factor against even odds, with a uniform prior on their probability; without
    more than half of them there is none.

    Args:
      agreeing: differences on one side; ties belong to the other.
      n: number of differences.
    """
    if 2 * agreeing <= n:
        return -math.inf
    others = n - agreeing
    chance = math.lgamma(agreeing + 1) + math.lgamma(others + 1) - math.lgamma(n + 2)
    return n * math.log(2) + chance


def anytime_critical(n: int, alpha: float) -> float:
    """The t statistic at which the evidence of n seeds reaches 1 / alpha.

    Times the standard error it is the half width of a confidence interval that holds
    at all n at once. Infinite where so few seeds cannot give that much evidence.
    """
    growth = 1 + n * PRIOR_VARIANCE
    ratio = math.exp((0.5 * math.log(growth) - math.log(alpha)) * 2 / n)
    if ratio >= growth:
        return math.inf
    return math.sqrt((n - 1) * (ratio - 1) / (1 - ratio / growth))
