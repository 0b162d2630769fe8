import pytest

from gpt2svc.cli.output import write_table


def test_columns_are_as_wide_as_their_widest_cell_and_rows_may_end_early(capsys: pytest.CaptureFixture[str]) -> None:
    write_table([("NAME", "SIZE", "NOTE"), ("starter", "1"), ("x", "12345678", "ні")])
    assert capsys.readouterr().out == "NAME     SIZE      NOTE\nstarter  1\nx        12345678  ні\n"
    write_table([])
    assert capsys.readouterr().out == ""
