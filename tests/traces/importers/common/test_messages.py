"""Words from files are short, and one line in a message."""

from routestat.traces.importers.common.messages import listed, reason


def test_words_of_others_are_short(experts):
    assert reason(ValueError("node <ast.Call object at 0x7f4abc> here")) == "node … here"
    assert reason(10**5000) == "a number of too many digits"
    assert listed([]) == "nothing"
    assert listed(map(str, range(15))).endswith("11 and 3 more")
    assert listed(["a\nb", "\ud800"]) == "'a\\nb', '\\ud800'"
