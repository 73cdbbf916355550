"""The summary that `simulate` prints; text of the trace is never read as markup."""

from pathlib import Path

from rich.console import Console
from rich.text import Text

from routestat.report.cautions import Cautions
from routestat.report.numbers import many, number
from routestat.report.quantities import between, data_size, duration
from routestat.report.simulation_main import NAMES, Main, main_setting
from routestat.report.simulation_sentences import answers, where
from routestat.report.terminal.console import (
    new_console,
    new_table,
    one_line,
    print_notes,
    print_report_path,
    print_titled,
    why_undefined,
)
from routestat.study.simulation_findings import SimulatedCache, Simulation

#: Policies that only the page has.
LEFT_OUT = ("belady-forced",)


def summarise(findings: Simulation, page: Path) -> None:
    """Print what every policy costs at one capacity, and the answers in short, to stdout; 80 columns when piped."""
    console = new_console()
    console.print(Text(_described(findings)))
    print_notes(console, findings.notes)
    main = main_setting(findings)
    if main is not None:
        _policies(console, main, findings)
    console.print()
    for answer in answers(findings):
        # What every policy costs is in the table.
        if main is None or answer.topic != "Cost":
            console.print(Text.assemble((f"{answer.topic}: ", "bold"), one_line(answer.short)))
    print_report_path(console, page)


def _described(findings: Simulation) -> str:
    size = f"{many(findings.n_tokens, 'token')} of {many(findings.n_documents, 'document')}"
    size += f" ({many(findings.n_units, 'independent unit')})"
    parts = [findings.meta.name or findings.folder, many(len(findings.routers), "router"), size]
    if findings.batch > 1:
        parts.append(f"{findings.batch} documents side by side")
    return " · ".join(one_line(part) for part in parts if part)


def _policies(console: Console, main: Main, findings: Simulation) -> None:
    """Print the table of policies; stalls where the machine is known, or bytes, or neither."""
    machine = findings.hardware
    size = machine.expert_bytes
    stalls = machine.transfer_seconds is not None
    last = ["stall/token"] if stalls else ["bytes/token"] if size is not None else []
    table = new_table("policy", "hit rate", "95 % interval", "loads/token", "95 % interval", *last)
    marks = Cautions()
    shown = [one for one in main.policies if one.setting.policy not in LEFT_OUT]
    for one in shown:
        name = NAMES[one.setting.policy]
        if one.reason:
            table.add_row(name, *["–"] * (4 + len(last)))
            continue
        hit, loads = one.hit_rate, one.loads_per_token
        cells = [
            number(hit.value),
            _limits(one, "hit_rate"),
            number(loads.value),
            _limits(one, "loads_per_token"),
        ]
        if stalls:
            cells.append(duration(one.stall_per_token.value))
        elif size is not None:
            cells.append(data_size(loads.value * size))
        table.add_row(marks.beside(name, *one.cautions), *cells)
    below = [*marks.below]
    below += why_undefined([one.reason for one in shown])
    below += why_undefined([one.loads_per_token.reason for one in shown if not one.reason])
    kinds = "hits and loads simulated"
    if last:
        kinds += f", {'seconds' if stalls else 'bytes'} estimated"
    title = f"Cost {where(main, findings)}"
    print_titled(console, title, table, [*below, f"{kinds}; intervals over documents"])


def _limits(one: SimulatedCache, name: str) -> str:
    found = getattr(one, name)
    return between(found.low, found.high, number) if found.low < found.high else "–"
