/* SPDX-License-Identifier: Apache-2.0 */
/* Asking a matcher, wherever it runs. */
#include "policy/matcher.h"
#include "session/session_priv.h"

#include <errno.h>

struct question {
	struct proxy *proxy;
	const struct matcher *matcher;
	struct slice text;
	enum matcher_answer answer;
};

static void tell(void *arg, enum matcher_answer answer, struct slice pattern)
{
	const struct question *q = arg;

	if (answer == MATCHER_YES)
		proxy_log(q->proxy, LOG_CORE_POLICY, 4, "Regexp matcher match", F_OCTETS("pattern", pattern), F_OCTETS("str", q->text));
	else
		proxy_log(q->proxy, LOG_CORE_POLICY, 3, "Regexp matcher needs more steps or memory than it may have",
			  F_OCTETS("pattern", pattern), F_OCTETS("str", q->text));
}

static void ask(void *arg)
{
	struct question *q = arg;
	const struct matcher_witness witness = { tell, q };

	q->answer = matcher_test(q->matcher, q->text, &witness);
}

static co_waits int ask_policy_code(struct proxy *proxy, int32_t callback, struct slice text)
{
	const struct call_value arg = { .kind = CALL_OCTETS, .octets = text };
	const struct policy_call call = { callback, NULL };
	struct call_value result = { .kind = CALL_NONE };
	int err = proxy_call(proxy, &call, &arg, 1, &result);

	return err < 0 ? err : call_value_is_true(&result);
}

co_waits int proxy_match(struct proxy *proxy, const struct matcher_call *call, struct slice text)
{
	struct question q = { .proxy = proxy, .matcher = call->matcher, .text = text };

	if (call->matcher == NULL)
		return ask_policy_code(proxy, call->callback, text);
	co_leaf(ask, &q);
	return q.answer == MATCHER_UNSURE ? -EOVERFLOW : q.answer == MATCHER_YES;
}
