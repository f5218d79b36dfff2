"""Each prefix of the series, by itself: what a reviewer of one commit checks out."""

import tempfile
from pathlib import Path

from patchkit import checkout, say, series, suite
from patchkit.checkout import Fork


def check(fork: Fork, upstream: str | None = None) -> bool:
    """Run the tests that each prefix of the series touches, on SQLite.

    The whole series is left out: it is what the other checks are about.

    Args:
        fork: the repository.
        upstream: PATH[@REV] of a clone of Django to use instead of the sdist.

    Returns:
        Whether all passed.
    """
    patches = fork.patches()
    passed = True
    for count in range(1, len(patches)):
        say(f"== The first {count} of {len(patches)} patches")
        with tempfile.TemporaryDirectory(prefix="ticket31997-") as name:
            prefix = fork.copy(Path(name), patches[:count])
            (prefix.root / suite.PACKAGE).symlink_to(fork.root / suite.PACKAGE)
            checkout.make(prefix, upstream)
            labels = series.labels(prefix.patches())
            passed &= suite.run(
                prefix,
                tree="django",
                database="sqlite",
                scopes=suite.SCOPES,
                arguments=labels,
            )
    return passed
