"""Energy from counters that overflow, and the reason where there are none."""

import pytest

pytest.importorskip("torch", reason="capture needs torch")

from capture.energy import EnergyMeter


def package(root, number, microjoules):
    folder = root / f"intel-rapl:{number}"
    folder.mkdir(exist_ok=True)
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    (folder / "max_energy_range_uj").write_text("100000000\n")
    return folder


def test_packages_are_summed_and_wrap(tmp_path):
    package(tmp_path, 0, 90_000_000)
    package(tmp_path, 1, 5_000_000)
    # A zone inside a package is counted in it already.
    (package(tmp_path, 0, 90_000_000).parent / "intel-rapl:0:0").mkdir()
    meter = EnergyMeter(tmp_path)
    package(tmp_path, 0, 95_000_000)
    meter.poll()
    package(tmp_path, 0, 2_000_000)
    package(tmp_path, 1, 6_500_000)
    energy = meter.read()
    # 5 J, then 5 J to the wrap and 2 J after it; 1.5 J of the other.
    assert energy.joules == pytest.approx(5 + 7 + 1.5)
    assert "RAPL of 2 processor packages" in energy.source
    assert energy.seconds >= 0


def test_without_counters_only_time_is_reported(tmp_path):
    energy = EnergyMeter(tmp_path / "absent").read()
    if "NVML" not in energy.source:
        assert energy.joules is None
        assert energy.source.startswith("time only: ")
        assert "no RAPL counters" in energy.source


def test_unreadable_counters_are_reported(tmp_path):
    folder = package(tmp_path, 0, 1)
    (folder / "energy_uj").unlink()
    energy = EnergyMeter(tmp_path).read()
    if "NVML" not in energy.source:
        assert energy.joules is None
        assert "energy_uj is not readable by this user" in energy.source
