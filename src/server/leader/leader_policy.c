/* SPDX-License-Identifier: Apache-2.0 */
/* From POLICY to a compiled policy, and to what its generation needs of the supervisor. */
#include "server/leader/leader.h"
#include "base/clock.h"
#include "kernel/plan.h"
#include "policy/doubts.h"
#include "proxy/registry.h"
#include "server/interfaces.h"
#include "server/privileges.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define POLICY_ARENA_MAX (4ull << 30)	/* octets of a compiled policy */
#define PLAN_ARENA_MAX (512u << 20)
#define PLAN_OCTETS_MAX (64u << 20)
#define LOCAL_ADDRESSES_MAX 4096u

/* The policy program, or the document that the policy is. Its control connection is ours. */
static int run_program(struct leader *l, struct arena *arena, struct policy_problems *problems,
		       struct policy_program_output *out, int *control)
{
	struct policy_program_options options;
	char why[512] = "";
	int pair[2], err;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	options = leader_program_options(l, pair[1]);
	err = policy_program_compile(&options, arena, problems, out, why, sizeof(why));
	close(pair[1]);
	if (err == 0) {
		*control = pair[0];
		return 0;
	}
	close(pair[0]);
	if (problems->n_errors == 0)
		problems_add(problems, PROBLEM_ERROR, (struct policy_place){ NULL, 0 }, NULL, "%s", why);
	return err;
}

/* What a document on a disk has lost of its policy. */
static int check_whole(const struct leader *l, const struct policy_program_output *output, struct policy_problems *problems)
{
	if (!output->is_document || l->policy->n_secrets == 0)
		return 0;
	problems_add(problems, PROBLEM_ERROR, (struct policy_place){ l->setup->options->policy, 0 },
		     "run the policy file itself", "this document needs private keys or passphrases that are not in it");
	return -EINVAL;
}

/* The program that evaluated the policy stays when there is something that only it can do. */
static int keep_or_end(struct leader *l, const struct policy_program_output *output, int control,
		       struct policy_problems *problems)
{
	if (l->policy->needs_host && output->host != 0)
		return leader_host_start(l, output->host, control);
	close(control);
	if (output->host != 0)
		policy_program_end(output->host);
	if (!l->policy->needs_host)
		return 0;
	problems_add(problems, PROBLEM_ERROR, (struct policy_place){ l->setup->options->policy, 0 },
		     "run the policy file itself", "this document calls policy code, which is not in it");
	return -EINVAL;
}

static int build(struct leader *l, struct arena *scratch, struct policy_problems *problems)
{
	struct policy_program_output output = { .host = 0, .secrets = -1 };
	int64_t began_wall_ms = clock_system.wall_ms(&clock_system);
	int control, err = run_program(l, scratch, problems, &output, &control);

	if (err != 0)
		return err;
	l->secrets = output.secrets;		/* not for this process to read: the keeper does */
	err = policy_build(output.document, &proxy_registry_all, l->arena, problems, &l->policy);
	if (err == 0 && !output.is_document && l->policy->n_matcher_files > 0) {
		l->files = file_watch_create(l->policy->matcher_files, l->policy->n_matcher_files, began_wall_ms);
		err = l->files != NULL ? 0 : -ENOMEM;
	}
	if (err == 0)
		err = check_whole(l, &output, problems);
	if (err == 0)
		return keep_or_end(l, &output, control, problems);
	close(control);
	if (output.host != 0)
		policy_program_end(output.host);
	return err;
}

int leader_read_policy(struct leader *l, struct policy_problems *problems)
{
	struct arena *scratch = arena_create(POLICY_ARENA_MAX, 0);
	int err;

	l->arena = arena_create(POLICY_ARENA_MAX, 0);
	err = l->arena != NULL && scratch != NULL ? build(l, scratch, problems) : -ENOMEM;
	arena_free(&scratch);
	malloc_trim(0);
	if (err != 0)
		return err;
	policy_check_runnable(l->policy, problems);
	err = policy_check_rules(l->policy, problems);
	if (err != 0)
		return err;
	return problems->n_errors > 0 ? -EINVAL : 0;
}

/* Which rights the source addresses and ports of its services ask for: KEEP_*. */
static unsigned wanted_rights(const struct policy *policy)
{
	unsigned keep = 0;

	for (size_t i = 0; i < policy->n_services; i++) {
		const struct service *s = &policy->services[i];

		if (s->kind != SERVICE_PROXY)
			continue;
		if (s->router.forge_addr)
			keep |= KEEP_NET_RAW;
		if (s->router.forge_port != FORGE_PORT_ANY && s->router.forge_port < 1024)
			keep |= KEEP_NET_BIND_SERVICE;
	}
	return keep;
}

static int make_kernel_plan(struct leader *l, struct arena *arena, struct policy_problems *problems, struct kernel_plan *plan)
{
	const struct policy_place place = { l->policy->file, 0 };
	int err = kernel_plan_make(l->policy, l->names, arena, plan);

	if (err == -E2BIG) {
		problems_add(problems, PROBLEM_ERROR, place, plan->excess.remedy, KERNEL_EXCESS_FORMAT, plan->excess.max,
			     plan->excess.what);
		return -EINVAL;
	}
	if (err == 0 && plan->widened)
		problems_add(problems, PROBLEM_WARNING, place, "sallyport kernel POLICY shows them",
			     "there are so many different rules that some kernel rules are wider; what no rule matches may be refused "
			     "by the proxy, or dropped, also where it is for this host itself");
	return err;
}

static int make_plan(struct leader *l, struct arena *arena, struct policy_problems *problems,
		     struct kernel_plan *plan)
{
	struct ip_addr *local;
	int n;

	memset(plan, 0, sizeof(*plan));
	if (l->setup->kernel)
		return make_kernel_plan(l, arena, problems, plan);
	local = arena_array(arena, LOCAL_ADDRESSES_MAX, sizeof(*local));
	if (local == NULL)
		return -ENOMEM;
	n = interfaces_local_addresses(local, LOCAL_ADDRESSES_MAX);
	if (n < 0)
		return n;
	return kernel_plan_listens(l->policy, local, (size_t)n, arena, problems, plan);
}

static int pack(struct leader *l, const struct kernel_plan *plan)
{
	struct plan_head head = {
		.n_services = (uint32_t)l->policy->n_services,
		.n_rules = (uint32_t)l->policy->n_rules,
		.n_callbacks = l->policy->n_callbacks,
	};
	struct buffer packed = BUFFER_INIT(PLAN_OCTETS_MAX), whole = BUFFER_INIT(PLAN_OCTETS_MAX + sizeof(head));
	int fd = kernel_plan_pack(plan, &packed);

	if (fd == 0) {
		l->keep = wanted_rights(l->policy);
		head.plan_octets = packed.len;
		snprintf(head.fingerprint, sizeof(head.fingerprint), "%s", l->policy->fingerprint);
		snprintf(head.fingerprint_without_files, sizeof(head.fingerprint_without_files), "%s",
			 l->files != NULL ? l->policy->fingerprint_without_files : "");
		buffer_append(&whole, slice_of(&head, sizeof(head)));
		buffer_append(&whole, buffer_slice(&packed));
		fd = whole.broken ? -ENOMEM : message_file(buffer_slice(&whole));
	}
	buffer_release(&packed);
	buffer_release(&whole);
	return fd;
}

int leader_plan(struct leader *l, struct policy_problems *problems)
{
	struct arena *arena = arena_create(PLAN_ARENA_MAX, 0);
	struct kernel_plan plan;
	int fd;

	if (arena == NULL)
		return -ENOMEM;
	fd = make_plan(l, arena, problems, &plan);
	if (fd == 0)
		fd = pack(l, &plan);
	arena_free(&arena);
	return fd;
}

int leader_plan_again(struct leader *l)
{
	struct arena *arena = arena_create(PLAN_ARENA_MAX, 0);
	struct policy_problems problems;
	int fd;

	if (arena == NULL)
		return -ENOMEM;
	problems_init(&problems, arena);	/* they were told at load, or there are only too many rules */
	fd = leader_plan(l, &problems);
	arena_free(&arena);
	return fd == -EINVAL ? -E2BIG : fd;
}
