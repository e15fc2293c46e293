# SPDX-License-Identifier: Apache-2.0
"""Authentication back ends: constructible, used by nothing yet."""

from sallyport import problems as _problems, registry as _registry
from sallyport.declare import Declaration as _Declaration, name_argument as _name_argument

(Z_AUTH_UNKNOWN, Z_AUTH_GETMETHODS, Z_AUTH_METHODS, Z_AUTH_SETMETHOD, Z_AUTH_REQUEST, Z_AUTH_RESPONSE,
 Z_AUTH_ACCEPT, Z_AUTH_ABORT, Z_AUTH_REJECT) = range(9)


class AbstractAuthenticationBackend(_Declaration):
    """To be subclassed: startSession, stopSession, getMethods, setMethod, converse."""


class AuthenticationProvider(_Declaration):
    def __init__(self, name, backend):
        self.name = _name_argument("the authentication provider's name", name)
        self.backend = backend
        self._place = _problems.here()
        _registry.register("authentication_providers", "AuthenticationProvider", name, self)
