# SPDX-License-Identifier: Apache-2.0
"""Everything that most policies need."""

import socket
import types as _types

from Zorp import Zorp
from Zorp.Zorp import *
from Zorp.Zone import InetZone, Zone
from Zorp.Service import DenyIPv4, DenyIPv6, DenyService, PFService, Service
from Zorp.SockAddr import SockAddrInet, SockAddrInet6, SockAddrInetHostname, SockAddrInetRange, SockAddrUnix
from Zorp.Subnet import Inet6Subnet, InetSubnet
from Zorp.Router import DirectedRouter, InbandRouter, SNIBasedRouter, TransparentRouter
from Zorp.Chainer import (ConnectChainer, FailoverChainer, MultiTargetChainer, RoundRobinChainer, SideStackChainer,
                          StateBasedChainer)
from Zorp.Rule import PortRange, Rule
from Zorp.Dispatch import CSZoneDispatcher, Dispatcher, RuleDispatcher, ZoneDispatcher
from Zorp.NAT import (ForgeClientSourceNAT, GeneralNAT, HashNAT, NAT46, NAT64, NATPolicy, OneToOneMultiNAT, OneToOneNAT,
                      RandomNAT, StaticNAT)
from Zorp.Auth import AuthCache, AuthenticationPolicy, AuthPolicy, InbandAuthentication
from Zorp.Stack import RemoteStackingBackend, StackingProvider
from Zorp.Matcher import (AbstractMatcher, CombineMatcher, DNSMatcher, MatcherPolicy, RegexpFileMatcher, RegexpMatcher,
                          SmtpInvalidRecipientMatcher, WindowsUpdateMatcher)
from Zorp.Resolver import DNSResolver, HashResolver, ResolverPolicy
from Zorp.Encryption import (Certificate, CertificateCA, ClientCertificateVerifier, ClientOnlyEncryption,
                             ClientOnlyStartTLSEncryption, ClientSSLOptions, DynamicCertificate, EncryptionPolicy,
                             FakeStartTLSEncryption, ForwardStartTLSEncryption, PrivateKey, ServerCertificateVerifier,
                             ServerOnlyEncryption, ServerSSLOptions, SNIBasedCertificate, StaticCertificate,
                             TwoSidedEncryption)
from Zorp.Keybridge import X509KeyBridge, X509KeyManager
from Zorp.Detector import AbstractDetector, CertDetector, DetectorPolicy, HttpDetector, SshDetector
from Zorp.Proxy import proxyLog

# Python 2's module "new", which the original's star import brings along.
new = _types.SimpleNamespace(instancemethod=lambda function, instance, cls=None: _types.MethodType(function, instance),
                             classobj=lambda name, bases, body: type(name, bases, body),
                             function=_types.FunctionType, module=_types.ModuleType, code=_types.CodeType)
