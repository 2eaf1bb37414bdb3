"""`make mutants` must find what it removes: the code moves on, and a guard that is not removed is not tested."""

import pytest

from scripts.mutation_check import MUTANTS, ROOT, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.guard)
def test_the_guard_stands_where_its_mutant_looks_for_it(mutant: Mutant) -> None:
    assert (ROOT / mutant.file).read_text(encoding="utf-8").count(mutant.old) == 1
    assert all((ROOT / test.partition("::")[0]).is_file() for test in mutant.tests)
