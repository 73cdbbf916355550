"""Capture: run a Mixture-of-Experts model and record which experts were executed, token by token.

Needs torch and transformers 5 (``pip install routestat[capture]``).
"""
