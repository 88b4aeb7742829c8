"""Random networks of the compiler's tests serve here too; the compiled engine is one for each file."""

import sys
from pathlib import Path

import pytest
from support import ENGINES

from reflexarc_sim.engine import CompiledEngine

sys.path.append(str(Path(__file__).parents[1] / "unit"))


@pytest.fixture(scope="module", params=ENGINES)
def compiled_engine(request):
    with CompiledEngine(request.param) as compiled:
        yield compiled
