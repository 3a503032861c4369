"""The tests' own helpers: cases of one test, and checks that many classes inherit."""

import pytest
from cases import Contract, cases


def test_cases_name_those_that_fail_and_those_that_raise_nothing():
    @cases("value", ["1", "one", "2", "two"])
    def refused(value):
        with pytest.raises(ValueError, match="'one'"):
            int(value)

    with pytest.raises(AssertionError) as reported:
        refused()
    said = str(reported.value).split("\n")
    assert said[0] == "3 of 4 cases failed"
    assert [line.split(": ")[1].split("}")[0] for line in said[1:]] == ["'1'", "'2'", "'two'"]


def test_a_contract_names_the_checks_that_fail():
    class Broken(Contract):
        def check_one(self):
            assert len("one") == 2

        def check_two(self):
            pass

        def check_zero(self):
            with pytest.raises(ValueError, match="none"):
                pass

    with pytest.raises(AssertionError, match=r"2 of 3 checks failed\ncheck_one: .*\n(.*\n)*check_zero: "):
        Broken().test_contract(None)
    with pytest.raises(AssertionError, match="a contract without a check"):
        Contract().test_contract(None)
