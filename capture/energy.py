"""Energy and time of a capture: NVML for NVIDIA GPUs, RAPL for the processor, else time alone."""

import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

RAPL = Path("/sys/class/powercap")


@dataclass(frozen=True)
class Energy:
    """Time and energy of a capture.

    Attributes
    ----------
    seconds : float
    joules : float or None
        None where energy could not be measured.
    source : str
        The counters that were read, or why there are none.
    """

    seconds: float
    joules: float | None
    source: str


class EnergyMeter:
    """Count joules and seconds from its creation on.

    Parameters
    ----------
    rapl : path
        Folder of the kernel's energy counters.
    """

    def __init__(self, rapl: Path = RAPL) -> None:
        self._start = time.monotonic()
        self._counters: list[_Counter] = []
        sources: list[str] = []
        reasons: list[str] = []
        for find in (_nvml_counters, lambda: _rapl_counters(rapl)):
            counters, description = find()
            self._counters += counters
            (sources if counters else reasons).append(description)
        self._source = ", ".join(sources) if sources else "time only: " + "; ".join(reasons)

    def poll(self) -> None:
        """Read the counters; they overflow, so this must happen every few minutes."""
        for counter in self._counters:
            counter.poll()

    def read(self) -> Energy:
        """Return the seconds and joules up to now."""
        self.poll()
        joules = sum(counter.joules for counter in self._counters) if self._counters else None
        return Energy(time.monotonic() - self._start, joules, self._source)


class _Counter:
    """A counter of energy that starts again from 0 when it overflows."""

    def __init__(self, read: Callable[[], int], unit: float, wrap: int) -> None:
        self._read, self._unit, self._wrap = read, unit, wrap
        self._last = read()
        self.joules = 0.0

    def poll(self) -> None:
        now = self._read()
        step = now - self._last
        self.joules += (step + self._wrap if step < 0 else step) * self._unit
        self._last = now


def _rapl_counters(root: Path) -> tuple[list[_Counter], str]:
    packages = sorted(path for path in root.glob("intel-rapl:*") if path.name.count(":") == 1)
    if not packages:
        return [], "no RAPL counters"
    counters = []
    for package in packages:
        file = package / "energy_uj"
        try:
            wrap = int((package / "max_energy_range_uj").read_text())
            counters.append(_Counter(lambda file=file: int(file.read_text()), 1e-6, wrap))  # type: ignore[misc]
        except (OSError, ValueError):
            return [], f"{file} is not readable by this user"
    return counters, f"RAPL of {len(counters)} processor package{'s' if len(counters) > 1 else ''}"


def _nvml_counters() -> tuple[list[_Counter], str]:
    if not torch.cuda.is_available():
        return [], "no NVIDIA card"
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return [], "libnvidia-ml.so.1 is not installed"
    if nvml.nvmlInit_v2() != 0:
        return [], "NVML cannot be initialised"
    counters = []
    for index in range(torch.cuda.device_count()):
        # By UUID: NVML numbers all GPUs, torch those that this process may use.
        uuid = f"GPU-{torch.cuda.get_device_properties(index).uuid}".encode()
        handle = ctypes.c_void_p()
        if nvml.nvmlDeviceGetHandleByUUID(uuid, ctypes.byref(handle)) != 0:
            return [], f"NVML does not know card {index}"
        if nvml.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(ctypes.c_ulonglong())) != 0:
            return [], f"card {index} has no energy counter"

        def read(handle: ctypes.c_void_p = handle) -> int:
            value = ctypes.c_ulonglong()
            nvml.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(value))
            return int(value.value)

        counters.append(_Counter(read, 1e-3, 1 << 64))
    return counters, f"NVML of {len(counters)} card{'s' if len(counters) > 1 else ''}"
