# SPDX-License-Identifier: Apache-2.0
"""Registries of named objects (sallyport.registry says who sees what)."""

services = {}
nat_policies = {None: None}
resolver_policies = {}
authentication_providers = {}
authentication_policies = {}
authorization_policies = {}
auth_policies = {}
auth_caches = {}
stacking_providers = {}
matchers = {}
encryption_policies = {}
detectors = {}

rules = None
dispatches = []
deinit_callbacks = []
instance_name = ""
virtual_instance_name = ""
kzorp_available = 0
none_encryption = None
notification_policy = None
