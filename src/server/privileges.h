/* SPDX-License-Identifier: Apache-2.0 */
/* Who our processes are: users, capabilities, descriptors, and their end with their parent. */
#ifndef SALLYPORT_SERVER_PRIVILEGES_H
#define SALLYPORT_SERVER_PRIVILEGES_H

#include "base/attributes.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define KEEP_NET_RAW 1u			/* forged sources */
#define KEEP_NET_BIND_SERVICE 2u	/* exact source ports below 1024 */

struct unprivileged {
	bool change;		/* started as root: become that user */
	uid_t uid;
	gid_t gid;
	char name[64];
};

/* The user for what needs no privilege: the named one; or NULL: "sallyport" if there is such a
 * user, else "nobody". Not as root: no change. 0; -ENOENT; -EPERM (a user was named, but only
 * root can change); -EINVAL (root itself). */
int privileges_user(const char *name, struct unprivileged *out) MUST_CHECK;

/* Another user for a process that the others must not read files of, nor be read by: "sallyport-NAME" if there is such
 * a user, else "nobody". Not as root, or where that is the same user: a copy of other. -EINVAL: root. */
int privileges_user_apart(const char *name, const struct unprivileged *other, struct unprivileged *out) MUST_CHECK;

bool privileges_have_net_admin(void);
bool privileges_have_net_raw(void);

/* In a child: become that user, keep only the KEEP_* capabilities, never gain others
 * (no_new_privs), die with the parent. parent is its pid; 0: outlive it. 0 or -errno. */
int privileges_drop(const struct unprivileged *user, unsigned keep, pid_t parent) MUST_CHECK;

/* In a child that dropped already: keep only these of what is left. 0 or -errno. */
int privileges_reduce(unsigned keep) MUST_CHECK;

/* In a child: die with the parent from now on; exits if it is gone already. */
void privileges_die_with(pid_t parent);

/* Close every descriptor but those listed (any order, -1 is skipped) and 0 to 2. */
void privileges_close_others(const int *keep, size_t n);

#endif
