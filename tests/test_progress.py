from atomlens import progress
from atomlens.progress import format_duration, track


def test_durations():
    assert format_duration(42.4) == "42 s"
    assert format_duration(185) == "3 min 05 s"
    assert format_duration(7800) == "2 h 10 min"


def test_plain_lines_tell_rate_and_time_left(capsys, monkeypatch):
    clock = iter([0.0, 20.0, 20.0, 40.0, 40.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with track("work", 100, "steps", done=10) as bar:
        bar.note("error 3")
        bar.advance(20)
        bar.expect(50)
        bar.advance(10)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "work: 30/100 steps (30 %), 1/s, 1 min 10 s left  error 3",
        "work: 40/50 steps (80 %), 0.75/s, 13 s left  error 3",
    ]


def test_without_a_description_nothing_is_shown(capsys, monkeypatch):
    monkeypatch.setattr(progress, "PLAIN_INTERVAL_S", -1.0)
    with track("", 10) as bar:
        bar.advance()
    assert capsys.readouterr().err == ""
