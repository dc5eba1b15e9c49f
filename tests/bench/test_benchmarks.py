"""Whether each benchmark still measures what it says, on one round and two people; its figures are not looked at."""

import json
import os

import pytest

from bench.__main__ import BENCHMARKS, main
from bench.frame import QUICK

pytestmark = [
    pytest.mark.guix,
    pytest.mark.hub,
    pytest.mark.skipif(os.geteuid() != 0, reason="sessions of several people take a hub that is root"),
]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_that_it_measures(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--quick", name])
    [line] = capsys.readouterr().out.splitlines()
    result = json.loads(line)
    assert (result["benchmark"], result["n"]) == (name, QUICK.people if name == "many-sessions" else QUICK.rounds)
    found = [result["ours"], *result["others"].values()]
    assert all(0 < figures["min"] <= figures["median"] <= figures["max"] for figures in found)
    # Those that count what must not be there hold for any number.
    assert all(bar["met"] for bar in result["bars"] if bar.get("at_most") == 0)


def test_that_an_unknown_name_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["spwan"])
    assert "there is no benchmark spwan; there are container-setup, " in capsys.readouterr().err
