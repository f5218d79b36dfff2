"""Each prefix of the series, by itself: what a reviewer of one commit checks out."""

import tempfile
from pathlib import Path

from patchkit import checkout, say, series, suite
from patchkit.fork import Fork


def check(fork: Fork, upstream: str | None = None) -> bool:
    """Run the tests that each prefix of the series touches, on SQLite.

    The whole series is left out, also without a last patch that has no code: it is
    what the other checks are about.

    Args:
        upstream: PATH[@REV] of a clone of Django to use instead of the sdist.

    Returns:
        Whether all passed.
    """
    patches = fork.patches()
    passed = True
    code = [n for n, patch in enumerate(patches) if series.modules([patch])]
    for count in range(1, code[-1] + 1 if code else 0):
        say(f"== The first {count} of {len(patches)} patches")
        with tempfile.TemporaryDirectory(prefix="ticket31997-") as name:
            prefix = fork.copy(Path(name), patches[:count])
            checkout.make(prefix, upstream)
            labels = series.labels(prefix.patches())
            passed &= suite.run(prefix, arguments=labels)
    return passed
