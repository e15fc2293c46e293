/* SPDX-License-Identifier: Apache-2.0 */
#include "server/privileges.h"

#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define USUAL_USER "sallyport"
#define FALLBACK_USER "nobody"

static int take_user(const struct passwd *pw, struct unprivileged *out)
{
	if (pw->pw_uid == 0)
		return -EINVAL;
	out->change = true;
	out->uid = pw->pw_uid;
	out->gid = pw->pw_gid;
	snprintf(out->name, sizeof(out->name), "%s", pw->pw_name);
	return 0;
}

int privileges_user(const char *name, struct unprivileged *out)
{
	const struct passwd *pw;

	memset(out, 0, sizeof(*out));
	out->uid = geteuid();
	out->gid = getegid();
	if (geteuid() != 0)
		return name == NULL ? 0 : -EPERM;
	pw = getpwnam(name != NULL ? name : USUAL_USER);
	if (pw == NULL && name == NULL)
		pw = getpwnam(FALLBACK_USER);
	return pw == NULL ? -ENOENT : take_user(pw, out);
}

int privileges_user_apart(const char *name, const struct unprivileged *other, struct unprivileged *out)
{
	char wanted[sizeof(out->name)];
	const struct passwd *pw;

	*out = *other;
	if (!other->change)
		return 0;
	snprintf(wanted, sizeof(wanted), USUAL_USER "-%s", name);
	pw = getpwnam(wanted);
	if (pw == NULL)
		pw = getpwnam(FALLBACK_USER);
	return pw == NULL || pw->pw_uid == other->uid ? 0 : take_user(pw, out);
}

static bool have(unsigned capability)
{
	return capng_get_caps_process() == 0 && capng_have_capability(CAPNG_EFFECTIVE, capability);
}

bool privileges_have_net_admin(void)
{
	return have(CAP_NET_ADMIN);
}

bool privileges_have_net_raw(void)
{
	return have(CAP_NET_RAW);
}

void privileges_die_with(pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
		_exit(1);
}

static void choose_capabilities(unsigned keep)
{
	capng_clear(CAPNG_SELECT_BOTH);
	if ((keep & KEEP_NET_RAW) != 0)
		capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_NET_RAW);
	if ((keep & KEEP_NET_BIND_SERVICE) != 0)
		capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_NET_BIND_SERVICE);
}

int privileges_drop(const struct unprivileged *user, unsigned keep, pid_t parent)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return -errno;
	if (user->change) {
		choose_capabilities(keep);
		if (capng_change_id((int)user->uid, (int)user->gid, CAPNG_DROP_SUPP_GRP | CAPNG_CLEAR_BOUNDING) != 0)
			return -EPERM;
		if (getuid() != user->uid || geteuid() != user->uid || getgid() != user->gid || setuid(0) == 0)
			return -EPERM;
	} else if (privileges_reduce(keep) != 0) {	/* a service manager may have given some to this user */
		return -EPERM;
	}
	/* A change of the user clears it, so it comes last. */
	if (parent != 0)
		privileges_die_with(parent);
	return 0;
}

int privileges_reduce(unsigned keep)
{
	unsigned kept = 0;

	if (have(CAP_NET_RAW))
		kept |= KEEP_NET_RAW;
	if (have(CAP_NET_BIND_SERVICE))
		kept |= KEEP_NET_BIND_SERVICE;
	choose_capabilities(kept & keep);
	return capng_apply(CAPNG_SELECT_CAPS) == 0 ? 0 : -EPERM;
}

static int compare_ints(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

void privileges_close_others(const int *keep, size_t n)
{
	int *sorted = malloc((n + 1) * sizeof(*sorted));
	unsigned from = 3;

	if (sorted == NULL)
		_exit(1);
	if (n > 0)
		memcpy(sorted, keep, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), compare_ints);
	for (size_t i = 0; i < n; i++) {
		if (sorted[i] < (int)from)
			continue;
		if ((unsigned)sorted[i] > from)
			(void)close_range(from, (unsigned)sorted[i] - 1, 0);
		from = (unsigned)sorted[i] + 1;
	}
	(void)close_range(from, ~0u, 0);
	free(sorted);
}
