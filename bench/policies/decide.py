# SPDX-License-Identifier: Apache-2.0
# bench/decide: SIZE zones and rules, of the kinds that large policies are made of. bench/decide sets SIZE.
import random

from Zorp.Core import *
from Zorp.Plug import *

SIZE = 1000
random.seed(1)

# A third of the zones lie in another one's tree, so that rules meet zones through their parents.
for i in range(SIZE):
    Zone("z%d" % i, ["%d.%d.%d.0/24" % (10 + i // 65536, i // 256 % 256, i % 256)],
         admin_parent="z%d" % (i // 10) if i > 9 and i % 3 == 0 else None)


def default_instance():
    for i in range(100):
        Service("s%d" % i, PlugProxy, router=TransparentRouter())
    for i in range(SIZE):
        service = "s%d" % (i % 100)
        subnet = "10.%d.%d" % (i // 256 % 256, i % 256)
        if i % 5 == 0:      # a zone may use some ports
            Rule(service=service, dst_port=(25, 80), src_zone="z%d" % i)
        elif i % 5 == 1:    # one zone, another zone, one port
            Rule(service=service, dst_port=random.randrange(1, 65536), src_zone="z%d" % (i * 7 % SIZE),
                 dst_zone="z%d" % (i * 13 % SIZE))
        elif i % 5 == 2:    # one server
            Rule(service=service, proto=6, dst_port=443, dst_subnet="%s.%d" % (subnet, i % 251))
        elif i % 5 == 3:    # ranges of ports for a subnet
            Rule(service=service, dst_port=PortRange(1024, 2048 + i % 3), src_subnet=subnet + ".0/24")
        else:               # between networks, whatever the port
            Rule(service=service, src_zone="z%d" % i, dst_subnet="10.%d.0.0/16" % (i % 256))
