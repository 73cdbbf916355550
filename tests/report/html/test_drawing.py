import multiprocessing
import os
import signal
import sys

import pytest

from routestat.progress import silent
from routestat.report.figures.style import new_axes, new_figure
from routestat.report.html.drawing import drawn_meanwhile
from routestat.report.html.page import Picture

apart = pytest.mark.skipif(
    sys.platform != "linux", reason="pictures have a process of their own only on Linux"
)


def drawn():
    figure = new_figure(2, 1)
    new_axes(figure, 0.3, 0.3, 1, 0.5)
    return figure


def jobs():
    return {"one": drawn, "none": lambda: "Nothing to draw."}


def draw(folder, threads, tick=silent):
    with drawn_meanwhile(jobs, folder, tick, threads) as pictures:
        return pictures()


def test_another_process_draws_the_same(tmp_path):
    here, there = draw(tmp_path / "a", 1), draw(tmp_path / "b", 2)
    assert (
        here
        == there
        == {"one": Picture("figures/one.png", 192, 96), "none": Picture(reason="Nothing to draw.")}
    )
    assert (tmp_path / "a/one.png").read_bytes() == (tmp_path / "b/one.png").read_bytes()


@apart
def test_this_process_does_not_draw(tmp_path):
    def own():
        (tmp_path / f"by-{os.getpid()}").touch()
        return jobs()

    with drawn_meanwhile(own, tmp_path / "f", silent, 2) as pictures:
        pictures()
    assert [file.name for file in tmp_path.glob("by-*")] != [f"by-{os.getpid()}"]
    assert len(list(tmp_path.glob("by-*"))) == 1


@apart
def test_a_killed_process_costs_no_picture(tmp_path):
    this = os.getpid()

    def dying():
        if os.getpid() != this:
            os.kill(os.getpid(), signal.SIGKILL)
        return jobs()

    with drawn_meanwhile(dying, tmp_path / "f", silent, 2) as pictures:
        assert pictures()["one"].file
    assert (tmp_path / "f/one.png").is_file()


@apart
def test_a_hanging_process_costs_no_picture(tmp_path, monkeypatch):
    this = os.getpid()
    monkeypatch.setattr("routestat.report.html.drawing.PATIENCE", 0.2)

    def hanging():
        if os.getpid() != this:
            signal.pause()
        return jobs()

    with drawn_meanwhile(hanging, tmp_path / "f", silent, 2) as pictures:
        assert pictures()["one"].file
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("threads", [1, 2])
def test_what_goes_wrong_is_raised_here(tmp_path, capfd, threads):
    def failing():
        return {"one": lambda: 1 / 0}

    with (
        pytest.raises(ZeroDivisionError),
        drawn_meanwhile(failing, tmp_path / "f", silent, threads) as pictures,
    ):
        pictures()
    assert capfd.readouterr().err == ""


@apart
def test_a_process_of_a_pool_draws_itself(tmp_path):
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(draw, (tmp_path / "f", 2))["one"].file


@apart
def test_no_process_outlives_an_error(tmp_path):
    def work():
        with drawn_meanwhile(jobs, tmp_path / "f", silent, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("threads", [1, 2])
def test_progress_ends_complete(tmp_path, threads):
    steps = []
    draw(tmp_path / "f", threads, lambda *step: steps.append(step))
    assert steps[-1][1] == steps[-1][2] > 0
