"""Force a layer's choice, do(state), and measure its effect on later layers.

command
    The command.
treatment
    Which experts are forced for which token.
forcing
    The hook that replaces a router's choice and weights.
stored_run
    The recorded choices of a run, read back from its trace.
effects
    The effect on a later layer, from a natural and a forced trace.
records
    Effects in ``intervene.json`` and ``intervene.csv``.
terminal
    Effects as tables in the terminal.
"""
