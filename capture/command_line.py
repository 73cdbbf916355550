"""What the three commands of capture have in common: the check of what is installed, options, exit codes."""

import inspect
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields, is_dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, get_type_hints

import typer

from routestat.cli.runner import run

REQUIRED = ("torch", "transformers", "datasets", "accelerate")
# Options that may be followed by several values.
SEVERAL_VALUES = ("--text", "--do")


def start(module: str) -> None:
    """Run ``main`` of a command's module, or print one line where a required package is not installed.

    Parameters
    ----------
    module : str
        Imported only now: the commands need torch, and this module does not.
    """
    absent = [name for name in REQUIRED if find_spec(name) is None]
    if absent:
        print(
            f"error: capture needs {', '.join(absent)}: pip install 'routestat[capture]' "
            "(torch first, the build that fits the machine)",
            file=sys.stderr,
        )
        sys.exit(2)
    import_module(module).main()


def run_command(app: typer.Typer, name: str) -> None:
    """Run a command on the arguments of the process, and leave with its exit code."""
    # Schedulers send SIGTERM before they kill: it is treated as Ctrl-C, and what was recorded is saved.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(run(app, name, spread_values(sys.argv[1:])))


def spread_values(arguments: Sequence[str]) -> list[str]:
    """Repeat an option before each of its values: ``--text A B`` becomes ``--text A --text B``."""
    spread: list[str] = []
    option = ""
    for argument in arguments:
        if argument.startswith("-"):
            option = argument if argument in SEVERAL_VALUES else ""
        elif option and spread[-1] != option:
            spread.append(option)
        spread.append(argument)
    return spread


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each dataclass parameter of a typer command by one option per field.

    The fields of a settings dataclass are annotated as typer parameters, so that an option shared by several
    commands, its help and its default are declared once, where its value is kept.

    Parameters
    ----------
    command : callable
        Parameters annotated with a dataclass are filled from options; the others are options themselves.

    Returns
    -------
    callable
        Takes all options by keyword.
    """
    hints = get_type_hints(command, include_extras=True)
    parameters: list[inspect.Parameter] = []
    settings: dict[str, Any] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        if is_dataclass(hints[name]):
            settings[name] = hints[name]
            parameters += _options_of(hints[name])
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name]))

    def called_with_options(**values: Any) -> None:
        for name, kind in settings.items():
            values[name] = kind(**{field.name: values.pop(field.name) for field in fields(kind)})
        command(**values)

    called_with_options.__name__, called_with_options.__doc__ = command.__name__, command.__doc__
    called_with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    called_with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return called_with_options


def _options_of(settings: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(settings, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(settings)
    ]
