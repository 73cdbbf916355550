"""Whole numbers in a message, as short ranges."""

from collections.abc import Sequence


def span(numbers: Sequence[int]) -> str:
    """Whole numbers in words as short as can be: ``0-3, 7``."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)
