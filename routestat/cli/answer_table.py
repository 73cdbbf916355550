"""A prediction on the terminal."""

from rich.console import Console
from rich.table import Table

from routestat.cli.choices import Record

#: Numbers of fetched experts that fit on a line.
_FETCHED = 8


def show_answer(record: Record, close: str) -> None:
    """Print a prediction: what was chosen before, a table of states or experts, and what it rests on.

    Parameters
    ----------
    record : dict
        As `routestat.cli.queries.QueryAnswerer.answer` returns it.
    close : str
        The last sentence.
    """
    console = Console()
    console.print(_opening(record), highlight=False)
    rows = record.get("experts") or record["predictions"]
    columns = ["state", "experts"] if "state" in rows[0] else ["expert"]
    table = Table(box=None, pad_edge=False)
    # A ridge has no intervals at all.
    limits = "predictor" not in record
    for name in (*columns, "probability", *([f"{100 * record['level']:g}% credible"] if limits else [])):
        table.add_column(name, justify="right")
    for row in rows:
        low, high = row["interval"]
        cells = [", ".join(map(str, row[name])) if name == "experts" else str(row[name]) for name in columns]
        reach = "unknown" if low is None or high is None else f"{low:.4f} – {high:.4f}"
        table.add_row(*cells, f"{row['probability']:.4f}", *([reach] if limits else []))
    console.print(table)
    if fetch := record.get("fetch"):
        step = -(-len(fetch) // _FETCHED)
        shares = ", ".join(f"{row['fetched']}: {row['share_present']:.3f}" for row in fetch[::step])
        console.print(
            f"Expected share of the needed experts among the most probable, by how many are fetched: {shares}.",
            highlight=False,
            soft_wrap=True,
        )
    for line in (*record["notes"], close):
        console.print(line, highlight=False, soft_wrap=True)


def _opening(record: Record) -> str:
    by = record.get("predictor")
    used = record["history"] if by else record["history"][-max(record["order"], 1) :]
    chose = [f"layer {one['layer']} experts {', '.join(map(str, one['experts']))}" for one in used]
    seen = f"{record['n_tokens']:,} tokens did"
    if by:
        seen = f"{by}, fitted to {record['n_tokens']:,} tokens"
    elif record["order"] == 0:
        seen = f"the prediction rests on {record['n_tokens']:,} tokens, whatever they chose"
    elif "state" not in record["predictions"][0]:
        seen = f"the rarest of these was chosen by {record['n_tokens']:,} tokens"
    text = " and ".join(chose).replace(" experts", " chose experts", 1).capitalize()
    return (
        f"{text or 'No choice of this token is known'} ({seen}). Layer {record['next_layer']} then chooses:"
    )
