/* SPDX-License-Identifier: Apache-2.0 */
#include "server/confine.h"

#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel's interface, as of version 6 of it; headers may be older than the kernel, and the other way round. */
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_restrict_self 446
#endif

struct ruleset {
	uint64_t files, net, scoped;
};

enum { ASK_VERSION = 1 };

/* Bits of files: which version knows them. Reading files (2) and directories (3) is not among them. */
static const struct { int version; uint64_t bits; } forbidden[] = {
	{ 1, 1u << 0 | 1u << 1 },		/* execute, write */
	{ 1, (1u << 13) - (1u << 4) },		/* remove and make, each kind */
	{ 2, 1u << 13 },			/* move to another directory */
	{ 3, 1u << 14 },			/* truncate */
	{ 5, 1u << 15 },			/* control devices */
};

#define SCOPES_VERSION 6
#define SCOPE_ABSTRACT_SOCKETS 1u
#define SCOPE_SIGNALS 2u

int confine_to_reading(void)
{
	struct ruleset rules = { 0 };
	int version = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, ASK_VERSION), fd, err = 0;

	if (version < 0)
		return errno == ENOSYS ? -EOPNOTSUPP : -errno;
	for (size_t i = 0; i < ARRAY_LEN(forbidden); i++)
		if (version >= forbidden[i].version)
			rules.files |= forbidden[i].bits;
	if (version >= SCOPES_VERSION)
		rules.scoped = SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS;
	/* An older kernel takes a longer struct when what it does not know is zero. */
	fd = (int)syscall(SYS_landlock_create_ruleset, &rules, sizeof(rules), 0);
	if (fd < 0)
		return -errno;
	if (syscall(SYS_landlock_restrict_self, fd, 0) != 0)
		err = -errno;
	close(fd);
	return err;
}
