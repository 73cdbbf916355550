"""Ctrl-C at a chosen moment of the code under test: every line is tried, so that nothing is left to luck."""

import signal
import sys
from collections import Counter
from collections.abc import Callable


def interrupted_at(moment: int, work: Callable[[], None], files: set[str], visits: int = 2) -> bool:
    """Run `work` and send SIGINT at the `moment`-th line executed in `files`; whether it got that far.

    Only the first `visits` passes over a line are moments: a loop's tenth turn is like its second.
    """
    left = moment
    sent = False
    passes: Counter[tuple[str, int]] = Counter()

    def trace(frame, event, _):
        nonlocal left, sent
        if frame.f_code.co_filename not in files:
            return None
        place = (frame.f_code.co_filename, frame.f_lineno)
        passes[place] += event == "line"
        if event == "line" and passes[place] <= visits and not sent:
            left -= 1
            if left == 0:
                sent = True
                signal.raise_signal(signal.SIGINT)
        return trace

    before, handler = sys.gettrace(), signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sys.settrace(trace)
        work()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
        signal.signal(signal.SIGINT, handler)
    return sent
