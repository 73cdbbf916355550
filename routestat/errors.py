"""The errors a caller may branch on. Each message is one line: what was expected, what was found, what to do."""


class RoutestatError(ValueError):
    """Anything the user can mend: bad input, an unsound request, a damaged file."""


class TraceError(RoutestatError):
    """A trace that does not open or does not agree with itself; names the file and, where known, the row."""


class FormatError(RoutestatError):
    """A foreign file that is not what its format promises; names the file and the field."""
