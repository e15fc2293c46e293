/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings of the host that break interception, each with what to do about it. Forwarding is one where a policy
 * forwards; else served connections end at this host, and it is better off without.
 */
#include "kernel/host_priv.h"
#include "kernel/plan.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static const struct policy_place nowhere;

/* A number under /proc/sys; otherwise when there is no such thing. */
static int setting(const char *path, int otherwise)
{
	char text[16] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC), value = otherwise;
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	if (n > 0 && sscanf(text, "%d", &value) != 1)
		value = otherwise;
	return value;
}

static void check_zero(struct policy_problems *problems, const char *path, const char *name, const char *what_happens)
{
	char hint[400];

	if (setting(path, 0) == 0)
		return;
	snprintf(hint, sizeof(hint), "sysctl -w %s=0, and a line in /etc/sysctl.d/ to keep it", name);
	problems_add(problems, PROBLEM_WARNING, nowhere, hint, "%s is not 0: %s", name, what_happens);
}

/* src_valid_mark of any interface: the reverse path of a marked packet is then our own table. */
static void check_interfaces(struct policy_problems *problems)
{
	DIR *dir = opendir("/proc/sys/net/ipv4/conf");
	struct dirent *entry;

	if (dir == NULL)
		return;
	while ((entry = readdir(dir)) != NULL) {
		char path[320], name[320];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/src_valid_mark", entry->d_name);
		snprintf(name, sizeof(name), "net.ipv4.conf.%s.src_valid_mark", entry->d_name);
		check_zero(problems, path, name, "intercepted packets fail the source check and are dropped");
	}
	closedir(dir);
}

static void check_reverse_path(struct policy_problems *problems)
{
	if (setting("/proc/sys/net/ipv4/conf/all/rp_filter", 0) == 1)
		problems_add(problems, PROBLEM_WARNING, nowhere,
			     "if clients come in on another interface than answers to them leave by: sysctl -w net.ipv4.conf.all.rp_filter=2",
			     "net.ipv4.conf.all.rp_filter is 1 (strict): with asymmetric routes the kernel drops clients' packets before any rule sees them");
}

static void check_programs(struct policy_problems *problems)
{
	static const char probe[] =
		"table inet sallyport_probe {\n"
		"\tchain c {\n\t\ttype filter hook prerouting priority mangle; policy accept;\n"
		"\t\tmeta l4proto tcp socket transparent 1 ct zone set 1\n"
		"\t\tmeta nfproto ipv4 meta l4proto tcp tproxy ip to 127.0.0.1:1 accept\n\t}\n}\n";
	char why[512] = "";
	int err = kernel_try(slice_cstr(probe), why, sizeof(why));

	if (err < 0)
		problems_add(problems, PROBLEM_ERROR, nowhere,
			     "kernel rules need root, the package nftables and a kernel with nft_tproxy, nft_socket and nft_ct",
			     "%s", why);
}

void kernel_check_host(struct policy_problems *problems)
{
	check_programs(problems);
	check_zero(problems, "/proc/sys/net/ipv4/tcp_fwmark_accept", "net.ipv4.tcp_fwmark_accept",
		   "answers to clients get the mark of their packets and loop back into this host");
	check_zero(problems, "/proc/sys/net/ipv4/fwmark_reflect", "net.ipv4.fwmark_reflect",
		   "resets and the like for intercepted packets loop back into this host");
	check_zero(problems, "/proc/sys/net/ipv6/fwmark_reflect", "net.ipv6.fwmark_reflect",
		   "resets and the like for intercepted packets loop back into this host");
	check_interfaces(problems);
	check_reverse_path(problems);
}

/* IPv6 only where addresses say that it is meant: a rule without any is for both. */
static bool forwards(const struct kernel_plan *plan, uint8_t family)
{
	for (size_t i = 0; i < plan->n_intercepts; i++) {
		const struct intercept *c = &plan->intercepts[i];

		if (c->action == INTERCEPT_FORWARD && c->family == family && (family == AF_INET || c->src >= 0 || c->dst >= 0))
			return true;
	}
	return false;
}

void kernel_check_forwarding(const struct kernel_plan *plan, struct policy_problems *problems)
{
	static const struct { uint8_t family; const char *path, *name; } settings[] = {
		{ AF_INET, "/proc/sys/net/ipv4/ip_forward", "net.ipv4.ip_forward" },
		{ AF_INET6, "/proc/sys/net/ipv6/conf/all/forwarding", "net.ipv6.conf.all.forwarding" },
	};

	for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
		char hint[120];

		if (!forwards(plan, settings[i].family) || setting(settings[i].path, 1) != 0)
			continue;
		snprintf(hint, sizeof(hint), "sysctl -w %s=1, once the rules are loaded", settings[i].name);
		problems_add(problems, PROBLEM_WARNING, nowhere, hint, "%s is 0: no PFService forwards anything", settings[i].name);
	}
}
