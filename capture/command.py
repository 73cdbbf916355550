"""The command ``python -m capture``: settings → a model and documents → a trace and a summary."""

import json
from pathlib import Path

from capture.command_line import run_command, with_settings
from capture.forward import Runner
from capture.inputs import prepare_inputs
from capture.lookahead import Lookahead
from capture.loop import record_documents
from capture.provenance import fixed_options, trace_meta
from capture.settings import RecordSettings, RunSettings
from capture.store import RUN_FILE, CaptureStore, refuse_taken
from capture.summary import expert_share_lines
from routestat.cli.output_folders import check_out
from routestat.cli.runner import new_app
from routestat.traces.clusters.summary import summarise_units
from routestat.traces.store import Trace

app = new_app()


@app.command()
@with_settings
def capture(run: RunSettings, record: RecordSettings) -> None:
    """Run a model over texts and record which experts were executed for every token.

    Example: python -m capture data/tiny-mixtral --text README.md --window 255 --out traces/readme
    """
    run.check()
    record.check(run)
    refuse_taken(check_out(run.out), run.resume)
    inputs = prepare_inputs(run, seed=record.seed, new_tokens=record.max_new_tokens)
    loaded = inputs.loaded
    lookahead = None
    if record.lookahead:
        lookahead = Lookahead(loaded.model, loaded.sites, record.distances, record.lookahead_variant)
        lookahead.verify()
    store = CaptureStore(
        run.out,
        trace_meta(run, record, loaded, {}),
        fixed_options(run, record, inputs.texts, {}),
        resume=run.resume,
        top1=record.top1,
        weights=record.weights,
    )
    runner = Runner(
        loaded.model,
        loaded.sites,
        loaded.pad,
        loaded.end_tokens,
        weights=record.top1 or record.weights,
        lookahead=lookahead,
        generation=record.generation,
        replayed=record.is_replayed,
    )
    record_documents(inputs, runner, store, seed=record.seed if record.sample else None)
    _print_summary(run.out)


def _print_summary(out: Path) -> None:
    facts = json.loads((out / RUN_FILE).read_bytes())["run"]
    seconds, tokens = facts["seconds"], facts["tokens"]
    energy = "" if facts["joules"] is None else f"{facts['joules']:,.0f} J, "
    print(f"{out}: {tokens:,} tokens in {seconds:,.1f} s ({tokens / max(seconds, 1e-9):,.0f} a second)")
    print(f"energy: {energy}{facts['energy_source']}")
    if facts["compared"]:
        print(
            f"replay: {facts['flips']:,} of {facts['compared']:,} selections differ from the generation's "
            f"({facts['flips'] / facts['compared']:.2%})"
        )
    for line in expert_share_lines(out):
        print(line)
    for sentence in summarise_units(Trace.open(out, verify=False)).sentences():
        print(f"note: {sentence}")


def main() -> None:
    """Run the command on the arguments of the process."""
    run_command(app, "capture")
