"""Whether a map of saliency depends on what the net has learned."""

import numpy as np


def rank_correlations(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of the sizes of two maps of each image: [N].

    Of maps with channels, sizes are summed over them. NaN where a map is constant.

    Args:
      first: [N, h, w] or [N, h, w, c], of the trained net.
      second: likewise, of the same net with random weights.

    Source: Adebayo et al. 2018, arXiv 1810.03292, section 3: near 1 means that the map
    does not depend on the weights.
    """
    from scipy.stats import spearmanr  # late: it takes a second to import

    found = []
    for one, other in zip(_sizes(first), _sizes(second), strict=True):
        constant = np.ptp(one) == 0 or np.ptp(other) == 0
        found.append(np.nan if constant else spearmanr(one, other).statistic)
    return np.array(found)


def _sizes(maps: np.ndarray) -> np.ndarray:
    sizes = np.abs(maps)
    if sizes.ndim == 4:
        sizes = sizes.sum(axis=-1)
    return sizes.reshape(len(sizes), -1)
