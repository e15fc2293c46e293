/* SPDX-License-Identifier: Apache-2.0 */
#include "server/interfaces.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/ipv6.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINKS_MAX 4096u
#define ADDRESSES_MAX 16384u
#define REPLY_OCTETS 32768u

struct link {
	int index;
	int32_t group;
	char name[IFNAME_MAX];
};

struct address {
	int index;
	struct ip_addr ip;
};

struct interfaces {
	int events;		/* tells of changes; -1 = none, then every look-up reads again */
	bool stale;
	struct link *links;
	size_t n_links, links_size;
	struct address *addresses;
	size_t n_addresses, addresses_size;
};

bool interfaces_needed(const struct policy *policy)
{
	for (size_t i = 0; i < policy->n_rules; i++) {
		const struct rule *r = &policy->rules[i];

		if (r->n_ifaces > 0 || r->n_ifgroups > 0 || r->n_dst_ifaces > 0 || r->n_dst_ifgroups > 0)
			return true;
	}
	return false;
}

static int netlink_open(unsigned groups)
{
	struct sockaddr_nl local = { .nl_family = AF_NETLINK, .nl_groups = groups };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&local, sizeof(local)) != 0) {
		int err = errno;

		close(fd);
		return -err;
	}
	return fd;
}

struct interfaces *interfaces_create(void)
{
	struct interfaces *in = calloc(1, sizeof(*in));

	if (in == NULL)
		return NULL;
	in->stale = true;
	in->events = netlink_open(RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR);
	return in;
}

void interfaces_free(struct interfaces **ip)
{
	struct interfaces *in = *ip;

	if (in == NULL)
		return;
	*ip = NULL;
	if (in->events >= 0)
		close(in->events);
	free(in->links);
	free(in->addresses);
	free(in);
}

int interfaces_prepare_listener(int fd, int family)
{
	const int on = 1;
	int err = family == AF_INET ? setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)) :
		  setsockopt(fd, IPPROTO_IPV6, IPV6_2292PKTINFO, &on, sizeof(on));

	return err == 0 ? 0 : -errno;
}

/* ---- rtnetlink ---- */

static void *grow(void *array, size_t *size, size_t n, size_t max, size_t item)
{
	void *bigger;

	if (n < *size)
		return array;
	if (n >= max)
		return NULL;
	bigger = realloc(array, (*size == 0 ? 16 : *size * 2) * item);
	if (bigger != NULL)
		*size = *size == 0 ? 16 : *size * 2;
	return bigger;
}

static void take_link(struct interfaces *in, const struct nlmsghdr *h)
{
	const struct ifinfomsg *info = NLMSG_DATA(h);
	struct link link = { .index = info->ifi_index };
	int len = (int)h->nlmsg_len - (int)NLMSG_LENGTH(sizeof(*info));
	struct link *links;

	if (len < 0)
		return;
	for (struct rtattr *a = IFLA_RTA(info); RTA_OK(a, len); a = RTA_NEXT(a, len)) {
		if (a->rta_type == IFLA_IFNAME && RTA_PAYLOAD(a) <= sizeof(link.name))
			memcpy(link.name, RTA_DATA(a), RTA_PAYLOAD(a));
		else if (a->rta_type == IFLA_GROUP && RTA_PAYLOAD(a) >= sizeof(link.group))
			memcpy(&link.group, RTA_DATA(a), sizeof(link.group));
	}
	link.name[sizeof(link.name) - 1] = '\0';
	links = grow(in->links, &in->links_size, in->n_links, LINKS_MAX, sizeof(link));
	if (links == NULL)
		return;
	in->links = links;
	in->links[in->n_links++] = link;
}

static void take_address(struct interfaces *in, const struct nlmsghdr *h)
{
	const struct ifaddrmsg *info = NLMSG_DATA(h);
	struct address address = { .index = (int)info->ifa_index };
	int len = (int)h->nlmsg_len - (int)NLMSG_LENGTH(sizeof(*info));
	size_t octets = info->ifa_family == AF_INET ? 4 : info->ifa_family == AF_INET6 ? 16 : 0;
	struct address *addresses;

	if (len < 0 || octets == 0)
		return;
	/* IFA_LOCAL is ours; IFA_ADDRESS is the peer's on point-to-point links, and comes first. */
	for (struct rtattr *a = IFA_RTA(info); RTA_OK(a, len); a = RTA_NEXT(a, len)) {
		if (RTA_PAYLOAD(a) != octets || (a->rta_type != IFA_LOCAL && a->rta_type != IFA_ADDRESS))
			continue;
		if (a->rta_type == IFA_ADDRESS && address.ip.family != AF_UNSPEC)
			continue;
		address.ip.family = info->ifa_family;
		memcpy(address.ip.octets, RTA_DATA(a), octets);
	}
	addresses = grow(in->addresses, &in->addresses_size, in->n_addresses, ADDRESSES_MAX, sizeof(address));
	if (address.ip.family == AF_UNSPEC || addresses == NULL)
		return;
	in->addresses = addresses;
	in->addresses[in->n_addresses++] = address;
}

/* One dump; every answer goes to take. 0 or -errno. */
static int dump(int fd, uint16_t type, void (*take)(struct interfaces *, const struct nlmsghdr *),
		struct interfaces *in)
{
	struct {
		struct nlmsghdr h;
		struct rtgenmsg g;
	} request = {
		.h = { .nlmsg_len = NLMSG_LENGTH(sizeof(struct rtgenmsg)), .nlmsg_type = type,
		       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.g = { .rtgen_family = AF_UNSPEC },
	};
	char *reply = malloc(REPLY_OCTETS);
	int result = -ENOMEM;

	if (reply == NULL || send(fd, &request, request.h.nlmsg_len, 0) < 0)
		goto out;
	for (result = 1; result == 1; ) {
		ssize_t n = recv(fd, reply, REPLY_OCTETS, 0);
		unsigned left = n > 0 ? (unsigned)n : 0;

		if (n <= 0)
			result = n < 0 ? -errno : -EPIPE;
		for (struct nlmsghdr *h = (void *)reply; result == 1 && NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
			if (h->nlmsg_type == NLMSG_DONE)
				result = 0;
			else if (h->nlmsg_type == NLMSG_ERROR)
				result = -EPROTO;
			else
				take(in, h);
		}
	}
out:
	free(reply);
	return result;
}

static int read_all(struct interfaces *in)
{
	int fd = netlink_open(0), err;

	if (fd < 0)
		return fd;
	in->n_links = in->n_addresses = 0;
	err = dump(fd, RTM_GETLINK, take_link, in);
	if (err == 0)
		err = dump(fd, RTM_GETADDR, take_address, in);
	close(fd);
	return err;
}

/* Read again when the kernel said that something changed, or when it can't tell us. */
static void refresh(struct interfaces *in)
{
	char event[256];

	while (in->events >= 0 && (recv(in->events, event, sizeof(event), MSG_DONTWAIT | MSG_TRUNC) > 0 ||
				   errno == ENOBUFS))
		in->stale = true;
	if (in->stale || in->events < 0)
		in->stale = read_all(in) != 0;
}

/* ---- what workers ask ---- */

/* The interface index that the kernel kept in a socket; 0 = none known. */
static int incoming_index(int fd, uint8_t family)
{
	_Alignas(struct cmsghdr) char control[256];
	socklen_t len = sizeof(control);
	struct msghdr msg = { .msg_control = control };
	bool v4 = family == AF_INET;

	if (getsockopt(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_PKTOPTIONS : IPV6_2292PKTOPTIONS,
		       control, &len) != 0)
		return 0;
	msg.msg_controllen = len;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c != NULL; c = CMSG_NXTHDR(&msg, c)) {
		struct in_pktinfo info4;
		struct in6_pktinfo info6;

		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO &&
		    c->cmsg_len >= CMSG_LEN(sizeof(info4))) {
			memcpy(&info4, CMSG_DATA(c), sizeof(info4));
			return info4.ipi_ifindex;
		}
		if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_2292PKTINFO &&
		    c->cmsg_len >= CMSG_LEN(sizeof(info6))) {
			memcpy(&info6, CMSG_DATA(c), sizeof(info6));
			return (int)info6.ipi6_ifindex;
		}
	}
	return 0;
}

void interfaces_of_connection(struct interfaces *in, int fd, struct flow *flow)
{
	int index = incoming_index(fd, flow->dst.ip.family);

	if (index == 0)
		return;
	refresh(in);
	for (size_t i = 0; i < in->n_links; i++)
		if (in->links[i].index == index) {
			memcpy(flow->iface, in->links[i].name, sizeof(flow->iface));
			flow->ifgroup = in->links[i].group;
		}
	for (size_t i = 0; i < in->n_addresses; i++)
		if (in->addresses[i].index == index && ip_equal(&in->addresses[i].ip, &flow->dst.ip)) {
			memcpy(flow->dst_iface, flow->iface, sizeof(flow->dst_iface));
			flow->dst_ifgroup = flow->ifgroup;
			return;
		}
}

int interfaces_local_addresses(struct ip_addr *out, size_t max)
{
	struct interfaces *in = calloc(1, sizeof(*in));
	size_t n = 0;
	int err;

	if (in == NULL)
		return -ENOMEM;
	in->events = -1;
	err = read_all(in);
	for (; err == 0 && n < in->n_addresses && n < max; n++)
		out[n] = in->addresses[n].ip;
	interfaces_free(&in);
	return err == 0 ? (int)n : err;
}
