# SPDX-License-Identifier: Apache-2.0
"""Authentication policies. A service that names one is refused for now."""

from sallyport import problems as _problems, registry as _registry
from sallyport.declare import Declaration as _Declaration, name_argument as _name_argument


class AbstractAuthentication(_Declaration):
    pass


class InbandAuthentication(AbstractAuthentication):
    """Login within the protocol."""

    def __init__(self, authentication_provider=None, auth_cache=None):
        self.authentication_provider = authentication_provider
        self.auth_cache = auth_cache


class ServerAuthentication(AbstractAuthentication):
    """The identity that the server accepted."""


class AuthCache(_Declaration):
    def __init__(self, name=None, timeout=600, update_stamp=1, service_equiv=0, cleanup_threshold=100):
        self.name = name
        self.timeout = timeout
        self.update_stamp = update_stamp
        self.service_equiv = service_equiv
        self.cleanup_threshold = cleanup_threshold
        self._place = _problems.here()
        if name is not None:
            _registry.register("auth_caches", "AuthCache", _name_argument("the cache's name", name), self)


class AuthenticationPolicy(_Declaration):
    def __init__(self, name, provider, authentication, cache=None):
        self.name = _name_argument("the authentication policy's name", name)
        self.provider = _registry.lookup("authentication_providers", "AuthenticationProvider", provider)
        self.authentication = authentication
        self.cache = cache
        self._place = _problems.here()
        _registry.register("authentication_policies", "AuthenticationPolicy", name, self)

    @classmethod
    def _remember_refused(cls, name, made):
        _registry.named("authentication_policies").setdefault(name, made)


class AuthPolicy(_Declaration):
    def __init__(self, name, authentication=None, authorization=None, auth_cache=None):
        self.name = _name_argument("the authentication policy's name", name)
        self.authentication = authentication
        self.authorization = authorization
        self.auth_cache = auth_cache
        self._place = _problems.here()
        _registry.register("auth_policies", "AuthPolicy", name, self)

    @classmethod
    def _remember_refused(cls, name, made):
        _registry.named("auth_policies").setdefault(name, made)
