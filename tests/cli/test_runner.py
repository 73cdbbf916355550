import pytest

from routestat import RoutestatError
from routestat.cli.runner import LONGEST, complain, parse_layers
from routestat.traces.number_ranges import span


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        ("0-3", [0, 1, 2, 3]),
        ("4", [4]),
        ("0,4,8", [0, 4, 8]),
        ("0-1, 7", [0, 1, 7]),
        ("2,2,1-2", [1, 2]),
        ("ALL", None),
    ],
)
def test_layers_in_words(text, layers):
    assert parse_layers(text) == layers


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("5-2", "5-2 runs backwards; write 2-5"),
        ("a-b", "numbers such as"),
        ("", "numbers"),
        ("-1", "numbers"),
        ("1-", "numbers"),
    ],
)
def test_layers_that_make_no_sense(text, message):
    with pytest.raises(RoutestatError, match=message):
        parse_layers(text)


def test_spans_read_back():
    assert span([0, 1, 2, 5, 7, 8]) == "0-2, 5, 7-8"
    assert parse_layers(span([0, 1, 2, 5, 7, 8])) == [0, 1, 2, 5, 7, 8]


def test_a_message_is_one_line_that_no_terminal_obeys(capsys):
    complain("a\x1b[31m\nb \ud800" + "x" * 5000 + " end")
    line = capsys.readouterr().err
    assert line.startswith("error: a\\x1b[31m b \\ud800")
    assert line.endswith(" end\n")
    assert len(line) < LONGEST + 40
