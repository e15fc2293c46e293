# SPDX-License-Identifier: Apache-2.0
"""The old dispatchers. Rules replace them; a policy that makes one is refused."""

from sallyport import problems as _problems
from sallyport.declare import Declaration as _Declaration

ZD_PRI_LISTEN = 100
ZD_PRI_NORMAL = 0
ZD_PRI_RELATED = -100


class _OldDispatcher(_Declaration):
    def __init__(self, *args, **kwargs):
        _problems.not_yet(type(self).__name__)
        self._poisoned = True


class RuleDispatcher(_OldDispatcher):
    pass


class Dispatcher(_OldDispatcher):
    pass


class ZoneDispatcher(_OldDispatcher):
    pass


class CSZoneDispatcher(_OldDispatcher):
    pass
