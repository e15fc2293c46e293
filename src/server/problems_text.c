/* SPDX-License-Identifier: Apache-2.0 */
#include "server/problems_text.h"
#include "base/log.h"

void problems_text(const struct policy_problems *p, struct buffer *out)
{
	for (const struct policy_problem *i = p->first; i != NULL; i = i->next) {
		if (i->severity != PROBLEM_ERROR)
			continue;
		if (i->place.file != NULL && i->place.line > 0)
			buffer_printf(out, "%s:%u: ", i->place.file, i->place.line);
		else if (i->place.file != NULL)
			buffer_printf(out, "%s: ", i->place.file);
		buffer_printf(out, "error: %s\n", i->message);
		if (i->hint != NULL)
			buffer_printf(out, "    %s\n", i->hint);
	}
}

void problems_log_warnings(const struct policy_problems *p)
{
	for (const struct policy_problem *i = p->first; i != NULL; i = i->next)
		if (i->severity == PROBLEM_WARNING)
			log_event(LOG_CORE_POLICY, 2, slice_cstr("nosession"), "Policy warning",
				  F_TEXT("file", i->place.file != NULL ? i->place.file : ""),
				  F_INT("line", i->place.line), F_TEXT("message", i->message),
				  F_TEXT("hint", i->hint != NULL ? i->hint : ""));
}
