"""Parts of a block whose outputs may be anything in any cycle."""

import contextlib
from collections.abc import Iterator
from types import ModuleType
from unittest import mock

from amaranth.hdl import Module
from amaranth.lib import wiring


class Free(wiring.Component):
    """Has another component's ports and drives none of them."""

    def elaborate(self, platform):
        return Module()


def _free(original: type[wiring.Component]):
    def make(*arguments, **named):
        component = original(*arguments, **named)
        component._MustUse__silence = True
        return Free(component.signature)

    return make


@contextlib.contextmanager
def parts_are_free(module: ModuleType, *names: str) -> Iterator[None]:
    """What ``module`` makes of the components with these names while this lasts is free."""
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(mock.patch.object(module, name, _free(getattr(module, name))))
        yield
