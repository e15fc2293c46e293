# SPDX-License-Identifier: Apache-2.0
"""The callables of encryptions: numbered in the document, called with what policy code expects.

From the worker come (side) for setup_key, (side, verified, error) for verify_cert_ext, and the name
for a matcher (docs/policy-document.md). What the hooks of the policy language get:

    setup_key(side[, certificate of the other side or None, server name, proxy])
    verify_cert_ext(side, (verified, error)[, certificate, proxy])
"""

from sallyport.tls_settings import CLIENT, SERVER, SIDES, arguments_of


class SharedHooks:
    """Of an encryption that any class may use: the callables stand in compiled.shared."""

    def __init__(self, compiled, scenario):
        self._compiled = compiled
        self._scenario = scenario
        self._numbers = {}

    def number(self, side, key):
        function = getattr(self._scenario.settings, side + "_handshake").call(key)
        return self._add((side, key), caller(key, function))

    def matcher(self, matcher):
        return self._add(id(matcher), lambda made: lambda name: 1 if matcher.checkMatch(name) else 0)

    def _add(self, where, bind):
        from sallyport.compiled import Callback
        if where not in self._numbers:
            self._numbers[where] = len(self._compiled.callbacks)
            self._compiled.callbacks.append(Callback(None, "shared", len(self._compiled.shared)))
            self._compiled.shared.append(bind)
        return self._numbers[where]


class OwnHooks:
    """Of an encryption that the configuration of a class made: looked up on the session's instance."""

    def __init__(self, state):
        self._state = state

    def number(self, side, key):
        return self._state.number("handshake", side, key)

    def matcher(self, matcher):
        raise AssertionError("self.ssl has no certificates by name")


def caller(key, function):
    """A function that, given an instance, returns what takes the arguments from the worker."""
    count = arguments_of(key, function)

    def bind(made):
        def setup_key(side):
            made.tls.begin_setup(SIDES[side])
            try:
                if count == 1:
                    return function(side)
                return function(side, made.tls.peer_certificate(SERVER if side == 0 else CLIENT), made.tls.server_name, made)
            except BaseException:
                made.tls.take_given_back()
                raise
            finally:
                made.tls.begin_setup(None)

        def verify(side, verified, error):
            if count == 2:
                return function(side, (verified, error))
            return function(side, (verified, error), made.tls.peer_certificate(SIDES[side]), made)
        return setup_key if key == "setup_key" else verify
    return bind
