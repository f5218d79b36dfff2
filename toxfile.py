"""What tox loads of this repository: a filter of what it says."""

import logging
import sys


def _is_news(record: logging.LogRecord) -> bool:
    """Drop tox's line about a command that failed, which has said why itself."""
    return "-qq" not in sys.argv or not str(record.msg).startswith("exit %s")


logging.getLogger("tox.execute.api").addFilter(_is_news)
