"""Writes cleanlab.json: what cleanlab says of seeded probabilities.

python tests/studies/recorded/record_cleanlab.py   # with cleanlab installed
"""

import json
from pathlib import Path

import numpy as np

CLASSES, IMAGES = 5, 300


def example():
    """Probabilities [N, classes] and labels [N], of which some are wrong."""
    stream = np.random.RandomState(0)
    true = stream.randint(0, CLASSES, IMAGES)
    logits = 1.5 * stream.normal(size=(IMAGES, CLASSES))
    logits[np.arange(IMAGES), true] += 3
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = true.copy()
    labels[:30] = (true[:30] + stream.randint(1, CLASSES, 30)) % CLASSES
    return probabilities, labels


def main():
    # Imported here: the tests take `example` alone.
    import cleanlab
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    probabilities, labels = example()
    found = {"cleanlab": cleanlab.__version__}
    for method in ("self_confidence", "normalized_margin"):
        scores = get_label_quality_scores(labels, probabilities, method=method)
        found[method] = np.round(scores, 9).tolist()
    issues = find_label_issues(labels, probabilities, filter_by="confident_learning")
    found["issues"] = np.flatnonzero(issues).tolist()
    Path(__file__).with_name("cleanlab.json").write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
