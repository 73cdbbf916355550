"""Files that engines load: one file for each engine, with its line in the registry.

registry
    All exports by name.
"""
