"""Placements, slowly: loads and staying transitions token by token, and optima by trying or by integer programming."""

from itertools import combinations, product

import numpy as np
from scipy.optimize import LinearConstraint, milp


def devices_with(placement, place, expert):
    """The devices that have a copy of an expert."""
    slots = placement.experts[place].tolist()
    each = len(slots) // placement.devices.n_devices
    return {slot // each for slot, own in enumerate(slots) if own == expert}


def nodes_with(placement, place, expert):
    each = placement.devices.n_devices // placement.devices.n_nodes
    return {device // each for device in devices_with(placement, place, expert)}


def loads_of_tokens(placement, place, choices):
    """Load of each device, where `choices` are the experts of each token."""
    loads = [0.0] * placement.devices.n_devices
    for token in choices:
        for expert in token:
            devices = devices_with(placement, place, expert)
            for device in devices:
                loads[device] += 1 / len(devices)
    return loads


def imbalance_of_tokens(placement, choices_of_layers):
    """Mean over layers of the largest load over the mean one."""
    found = []
    for place, choices in enumerate(choices_of_layers):
        loads = loads_of_tokens(placement, place, choices)
        found.append(max(loads) / (sum(loads) / len(loads)))
    return sum(found) / len(found)


def affinity_of_tokens(placement, choices_of_layers, where=devices_with):
    """Share of the pairs of a token's choices at consecutive layers with copies together."""
    stay = total = 0
    for place in range(len(choices_of_layers) - 1):
        for source, target in zip(choices_of_layers[place], choices_of_layers[place + 1], strict=True):
            for one, other in product(source, target):
                total += 1
                stay += bool(where(placement, place, one) & where(placement, place + 1, other))
    return stay / total


def divisions(experts, size):
    """All ways to divide experts into unnamed groups of one size."""
    if not experts:
        yield []
        return
    first, rest = experts[0], experts[1:]
    for others in combinations(rest, size - 1):
        left = [expert for expert in rest if expert not in others]
        for more in divisions(left, size):
            yield [(first, *others), *more]


def least_imbalance(load, n_devices):
    """The least possible largest load over the mean one, without copies, by trying all divisions."""
    size = len(load) // n_devices
    tried = (
        max(sum(load[e] for e in group) for group in one) for one in divisions(list(range(len(load))), size)
    )
    return min(tried) / (sum(load) / n_devices)


def most_staying(tables, n_devices):
    """The most transitions that can stay, without copies, by linearised integer programming.

    One variable for each layer, expert and device, and one for each transition and device, which is at most either
    of its two experts' variables.
    """
    sizes = [tables[0].shape[0], *(table.shape[1] for table in tables)]
    names = {}
    for layer, n in enumerate(sizes):
        for key in product([layer], range(n), range(n_devices)):
            names[key] = len(names)
    n_places = len(names)
    value = []
    for gap, table in enumerate(tables):
        for source, target, device in product(*map(range, table.shape), range(n_devices)):
            names[gap, source, target, device] = len(names)
            value.append(float(table[source, target]))
    rows, low, high = [], [], []

    def row(terms, at_least, at_most):
        full = np.zeros(len(names))
        for name, factor in terms:
            full[names[name]] = factor
        rows.append(full)
        low.append(at_least)
        high.append(at_most)

    for layer, n in enumerate(sizes):
        for expert in range(n):
            row([((layer, expert, device), 1) for device in range(n_devices)], 1, 1)
        for device in range(n_devices):
            row([((layer, expert, device), 1) for expert in range(n)], n // n_devices, n // n_devices)
    for gap, table in enumerate(tables):
        for source, target, device in product(*map(range, table.shape), range(n_devices)):
            for place in ((gap, source, device), (gap + 1, target, device)):
                row([((gap, source, target, device), 1), (place, -1)], -np.inf, 0)
    cost = np.concatenate([np.zeros(n_places), -np.array(value)])
    whole = np.concatenate([np.ones(n_places), np.zeros(len(value))])
    solved = milp(
        cost, constraints=LinearConstraint(np.array(rows), low, high), integrality=whole, bounds=(0, 1),
        options={"mip_rel_gap": 1e-9},
    )  # fmt: skip
    assert solved.status == 0
    return -solved.fun
