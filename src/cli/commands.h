/* SPDX-License-Identifier: Apache-2.0 */
/* The commands' entries; rows of the table in main.c. Each returns enum cli_status. */
#ifndef SALLYPORT_CLI_COMMANDS_H
#define SALLYPORT_CLI_COMMANDS_H

int cli_check(int argc, char **argv);
int cli_compile(int argc, char **argv);
int cli_ctl(int argc, char **argv);
int cli_explain(int argc, char **argv);
int cli_kernel(int argc, char **argv);
int cli_run(int argc, char **argv);
int cli_schema(int argc, char **argv);
int cli_test(int argc, char **argv);

#endif
