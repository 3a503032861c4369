"""The tests' own helper for checks that many classes inherit."""

import pytest
from cases import Contract


def test_a_contract_names_the_checks_that_fail():
    class Broken(Contract):
        def check_one(self):
            assert len("one") == 2

        def check_two(self):
            pass

    with pytest.raises(AssertionError, match=r"1 of 2 checks failed\ncheck_one: "):
        Broken().test_contract(None)
    with pytest.raises(AssertionError, match="a contract without a check"):
        Contract().test_contract(None)
