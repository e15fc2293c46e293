/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The supervisor: the one process that may hold privileges. It owns the listening sockets and
 * the kernel rules, starts a leader for each generation of the policy, hands over between
 * generations, and writes everybody's log lines. It reads no traffic, no JSON and no policy.
 */
#ifndef SALLYPORT_SERVER_SUPERVISOR_H
#define SALLYPORT_SERVER_SUPERVISOR_H

#include "server/run_options.h"

/* Runs until stopped. Returns what the program exits with (enum cli_status of cli/cli.h). */
int supervisor_run(const struct run_options *options);

/* Where the control socket is when nobody says otherwise: /run/sallyport/control as root, else
 * under XDG_RUNTIME_DIR. 0 or -ENAMETOOLONG. */
int control_path_usual(char *buf, size_t size) __attribute__((warn_unused_result));

#endif
