# SPDX-License-Identifier: Apache-2.0
"""Stacking providers: constructible, used by nothing yet."""

from sallyport import problems as _problems, registry as _registry
from sallyport.declare import Declaration as _Declaration, name_argument as _name_argument, sequence as _sequence


class AbstractStackingBackend(_Declaration):
    pass


class RemoteStackingBackend(AbstractStackingBackend):
    def __init__(self, addrs):
        self.addrs = _sequence(addrs)


class StackingProvider(_Declaration):
    def __init__(self, name, backend):
        self.name = _name_argument("the stacking provider's name", name)
        self.backend = backend
        self._place = _problems.here()
        _registry.register("stacking_providers", "StackingProvider", name, self)


def getStackingProviderBackend(name):
    return _registry.lookup("stacking_providers", "StackingProvider", name).backend
