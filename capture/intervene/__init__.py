"""Force a layer's choice, do(state), and measure its effect on later layers.

========================  ==========================================================================
``treatment``             which experts are forced for which token
``forcing``               the hook that replaces a router's choice and weights
``stored_run``            the recorded choices of a run, read back from its trace
``effects``               the effect on a later layer, from a natural and a forced trace
``records``               effects in ``intervene.json`` and ``intervene.csv``
``terminal``              effects as tables in the terminal
========================  ==========================================================================
"""
