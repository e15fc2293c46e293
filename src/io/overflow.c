/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A coroutine that runs out of stack faults in the guard below it. Only a handler on a stack of
 * its own can say so; it then lets the fault happen again with the action that was there before,
 * so that the core dump shows the place.
 */
#include "io/loop_priv.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIGNAL_STACK_SIZE (64u * 1024u)		/* AVX-512 state alone takes some KiB */

static struct sigaction action_before;

static void on_fault(int number, siginfo_t *info, void *context)
{
	static const char message[] = "sallyport: a session stack overflowed; this process ends\n";
	const struct loop *loop = loop_of_process;

	if (loop != NULL && slab_in_guard(&loop->stacks, info->si_addr))
		(void)!write(STDERR_FILENO, message, sizeof(message) - 1);
	sigaction(SIGSEGV, &action_before, NULL);
}

/* A sanitizer may have set one already. */
static int signal_stack(void)
{
	stack_t stack;

	if (sigaltstack(NULL, &stack) < 0)
		return -errno;
	if ((stack.ss_flags & SS_DISABLE) == 0)
		return 0;
	stack = (stack_t){ .ss_size = SIGNAL_STACK_SIZE };
	stack.ss_sp = mmap(NULL, stack.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (stack.ss_sp == MAP_FAILED)
		return -errno;
	return sigaltstack(&stack, NULL) < 0 ? -errno : 0;
}

int co_report_overflow(void)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	int err = signal_stack();

	if (err < 0)
		return err;
	sigemptyset(&action.sa_mask);
	return sigaction(SIGSEGV, &action, &action_before) < 0 ? -errno : 0;
}
