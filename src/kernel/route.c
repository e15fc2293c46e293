/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy route of the mark, over rtnetlink: "packets with KERNEL_MARK look into table 5353",
 * and there "everything is local". Both carry a protocol number of our own, by which they are
 * known again: what has our priority or stands in our table without it is somebody else's, and
 * is neither used nor removed.
 */
#include "kernel/host_priv.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <unistd.h>

#define OUR_PROTOCOL 153	/* of routes and rules: nobody's in /etc/iproute2/rt_protos */

struct request {
	struct nlmsghdr head;
	union {
		struct fib_rule_hdr rule;
		struct rtmsg route;
	} body;
	uint8_t attributes[128];
};

static void start_request(struct request *q, uint16_t type, uint16_t flags, size_t body)
{
	memset(q, 0, sizeof(*q));
	q->head.nlmsg_type = type;
	q->head.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	q->head.nlmsg_len = (uint32_t)NLMSG_LENGTH(body);
	q->head.nlmsg_seq = 1;
}

static void add_attribute(struct request *q, uint16_t type, const void *value, uint16_t len)
{
	struct rtattr *a = (struct rtattr *)((char *)q + NLMSG_ALIGN(q->head.nlmsg_len));

	a->rta_type = type;
	a->rta_len = (uint16_t)RTA_LENGTH(len);
	memcpy(RTA_DATA(a), value, len);
	q->head.nlmsg_len = NLMSG_ALIGN(q->head.nlmsg_len) + RTA_ALIGN(a->rta_len);
}

static void add_u32(struct request *q, uint16_t type, uint32_t value)
{
	add_attribute(q, type, &value, sizeof(value));
}

static void rule_request(struct request *q, uint16_t type, uint16_t flags, uint8_t family)
{
	uint8_t protocol = OUR_PROTOCOL;

	start_request(q, type, flags, sizeof(q->body.rule));
	q->body.rule.family = family;
	q->body.rule.table = RT_TABLE_UNSPEC;
	q->body.rule.action = FR_ACT_TO_TBL;
	add_u32(q, FRA_PRIORITY, KERNEL_RULE_PRIORITY);
	add_u32(q, FRA_FWMARK, KERNEL_MARK);
	add_u32(q, FRA_FWMASK, KERNEL_MARK_MASK);
	add_u32(q, FRA_TABLE, KERNEL_ROUTE_TABLE);
	add_attribute(q, FRA_PROTOCOL, &protocol, 1);
}

static void route_request(struct request *q, uint16_t type, uint16_t flags, uint8_t family)
{
	start_request(q, type, flags, sizeof(q->body.route));
	q->body.route.rtm_family = family;
	q->body.route.rtm_table = RT_TABLE_UNSPEC;
	q->body.route.rtm_protocol = OUR_PROTOCOL;
	q->body.route.rtm_scope = RT_SCOPE_HOST;
	q->body.route.rtm_type = RTN_LOCAL;
	add_u32(q, RTA_TABLE, KERNEL_ROUTE_TABLE);
	add_u32(q, RTA_OIF, if_nametoindex("lo"));
}

static int open_netlink(void)
{
	struct timeval limit = { .tv_sec = 10 };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

static int send_request(int fd, const struct request *q)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	ssize_t n = sendto(fd, q, q->head.nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof(kernel));

	return n == (ssize_t)q->head.nlmsg_len ? 0 : n < 0 ? -errno : -EIO;
}

static ssize_t receive(int fd, void *buf, size_t size)
{
	struct sockaddr_nl from;
	socklen_t len;
	ssize_t n;

	do {
		len = sizeof(from);
		n = recvfrom(fd, buf, size, MSG_TRUNC, (struct sockaddr *)&from, &len);
	} while ((n < 0 && errno == EINTR) || (n >= 0 && from.nl_pid != 0));
	if (n < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	return (size_t)n > size ? -EMSGSIZE : n;
}

/* One change, and the kernel's answer: 0 or -errno. */
static int change(const struct request *q)
{
	union { struct nlmsghdr head; char octets[2048]; } answer;
	int fd = open_netlink();
	int err = fd < 0 ? fd : send_request(fd, q);
	ssize_t n;

	if (err == 0) {
		n = receive(fd, &answer, sizeof(answer));
		if (n < 0)
			err = (int)n;
		else if ((size_t)n < NLMSG_LENGTH(sizeof(struct nlmsgerr)) || answer.head.nlmsg_type != NLMSG_ERROR)
			err = -EBADMSG;
		else
			err = ((const struct nlmsgerr *)NLMSG_DATA(&answer.head))->error;
	}
	if (fd >= 0)
		close(fd);
	return err;
}

/* What is there already. */
struct found {
	bool ours, foreign;
};

static void read_attributes(const struct rtattr *a, int len, const struct rtattr **out, unsigned max)
{
	memset(out, 0, (max + 1) * sizeof(*out));
	for (; RTA_OK(a, len); a = RTA_NEXT(a, len))
		if (a->rta_type <= max)
			out[a->rta_type] = a;
}

static uint32_t attribute_u32(const struct rtattr *a, uint32_t otherwise)
{
	uint32_t value;

	if (a == NULL || RTA_PAYLOAD(a) < sizeof(value))
		return otherwise;
	memcpy(&value, RTA_DATA(a), sizeof(value));
	return value;
}

static void look_at_rule(const struct nlmsghdr *head, struct found *found)
{
	const struct fib_rule_hdr *rule = NLMSG_DATA(head);
	const struct rtattr *a[FRA_MAX + 1];
	uint32_t table;
	bool ours;

	if (head->nlmsg_len < NLMSG_LENGTH(sizeof(*rule)))
		return;
	read_attributes((const struct rtattr *)((const char *)rule + NLMSG_ALIGN(sizeof(*rule))),
			(int)(head->nlmsg_len - NLMSG_LENGTH(sizeof(*rule))), a, FRA_MAX);
	table = attribute_u32(a[FRA_TABLE], rule->table);
	if (attribute_u32(a[FRA_PRIORITY], 0) != KERNEL_RULE_PRIORITY && table != KERNEL_ROUTE_TABLE)
		return;
	ours = table == KERNEL_ROUTE_TABLE && attribute_u32(a[FRA_PRIORITY], 0) == KERNEL_RULE_PRIORITY &&
	       attribute_u32(a[FRA_FWMARK], 0) == KERNEL_MARK && attribute_u32(a[FRA_FWMASK], 0) == KERNEL_MARK_MASK &&
	       a[FRA_PROTOCOL] != NULL && *(const uint8_t *)RTA_DATA(a[FRA_PROTOCOL]) == OUR_PROTOCOL;
	found->ours = found->ours || ours;
	found->foreign = found->foreign || !ours;
}

static void look_at_route(const struct nlmsghdr *head, struct found *found)
{
	const struct rtmsg *route = NLMSG_DATA(head);
	const struct rtattr *a[RTA_MAX + 1];
	bool ours;

	if (head->nlmsg_len < NLMSG_LENGTH(sizeof(*route)))
		return;
	read_attributes(RTM_RTA(route), (int)RTM_PAYLOAD(head), a, RTA_MAX);
	if (attribute_u32(a[RTA_TABLE], route->rtm_table) != KERNEL_ROUTE_TABLE)
		return;
	ours = route->rtm_type == RTN_LOCAL && route->rtm_dst_len == 0 && route->rtm_protocol == OUR_PROTOCOL;
	found->ours = found->ours || ours;
	found->foreign = found->foreign || !ours;
}

static int find(uint8_t family, uint16_t type, struct found *found)
{
	union { struct nlmsghdr head; char octets[32768]; } *answer;
	struct arena *arena = arena_create(sizeof(*answer) + 4096, 0);
	struct request q;
	int fd = open_netlink(), err = fd;
	bool done = false;

	*found = (struct found){ false, false };
	answer = arena == NULL ? NULL : arena_alloc(arena, sizeof(*answer));
	if (answer == NULL)
		err = -ENOMEM;
	start_request(&q, type, NLM_F_DUMP, type == RTM_GETRULE ? sizeof(q.body.rule) : sizeof(q.body.route));
	q.body.rule.family = family;	/* the first octet of both */
	if (err >= 0)
		err = send_request(fd, &q);
	while (err == 0 && !done) {
		ssize_t n = receive(fd, answer, sizeof(*answer));
		struct nlmsghdr *head = &answer->head;
		unsigned left = n < 0 ? 0 : (unsigned)n;

		err = n < 0 ? (int)n : 0;
		for (; err == 0 && !done && NLMSG_OK(head, left); head = NLMSG_NEXT(head, left)) {
			if (head->nlmsg_type == NLMSG_DONE)
				done = true;
			else if (head->nlmsg_type == NLMSG_ERROR)
				err = ((const struct nlmsgerr *)NLMSG_DATA(head))->error;
			else if (head->nlmsg_type == RTM_NEWRULE)
				look_at_rule(head, found);
			else if (head->nlmsg_type == RTM_NEWROUTE)
				look_at_route(head, found);
		}
	}
	if (fd >= 0)
		close(fd);
	arena_free(&arena);
	return err;
}

static bool family_exists(uint8_t family)
{
	return family == AF_INET || access("/proc/sys/net/ipv6", F_OK) == 0;
}

static int add_family(uint8_t family, char *why, size_t size)
{
	const char *name = family == AF_INET ? "IPv4" : "IPv6";
	struct found rules, routes;
	struct request q;
	int err = find(family, RTM_GETRULE, &rules);

	if (err == 0)
		err = find(family, RTM_GETROUTE, &routes);
	if (err < 0) {
		say_why(why, size, "reading the %s routing rules: %s", name, strerror(-err));
		return err;
	}
	if (rules.foreign || routes.foreign) {
		say_why(why, size, "somebody else uses %s routing %s %d; free that number, Sallyport needs it", name,
			rules.foreign ? "rule priority or table" : "table", KERNEL_ROUTE_TABLE);
		return -EEXIST;
	}
	if (!routes.ours) {
		route_request(&q, RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, family);
		err = change(&q);
	}
	if (err == 0 && !rules.ours) {
		rule_request(&q, RTM_NEWRULE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, family);
		err = change(&q);
	}
	if (err < 0)
		say_why(why, size, "adding the %s route of the mark: %s", name, strerror(-err));
	return err;
}

int kernel_route_add(char *why, size_t size)
{
	const uint8_t families[] = { AF_INET, AF_INET6 };
	int err = 0;

	for (size_t i = 0; err == 0 && i < ARRAY_LEN(families); i++)
		if (family_exists(families[i]))
			err = add_family(families[i], why, size);
	return err;
}

static int remove_family(uint8_t family)
{
	struct found rules = { false, false }, routes = { false, false };
	struct request q;
	int err = find(family, RTM_GETRULE, &rules);

	if (err == 0 && rules.ours) {
		rule_request(&q, RTM_DELRULE, NLM_F_ACK, family);
		err = change(&q);
	}
	if (err == 0)
		err = find(family, RTM_GETROUTE, &routes);
	if (err == 0 && routes.ours) {
		route_request(&q, RTM_DELROUTE, NLM_F_ACK, family);
		err = change(&q);
	}
	return err;
}

int route_remove(char *why, size_t size)
{
	const uint8_t families[] = { AF_INET, AF_INET6 };
	int first = 0;

	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		int err = family_exists(families[i]) ? remove_family(families[i]) : 0;

		if (err < 0 && first == 0) {
			first = err;
			say_why(why, size, "removing the route of the mark: %s", strerror(-err));
		}
	}
	return first;
}
