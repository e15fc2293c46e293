/* SPDX-License-Identifier: Apache-2.0 */
#include "session/refusals.h"
#include "base/attributes.h"
#include "base/log.h"

#include <assert.h>
#include <stddef.h>

#define BURST 50
#define EVERY_MS 100
#define TELL_MS 5000

const char *const refusal_reasons[REFUSALS] = {
	[REFUSAL_NO_RULE] = "no rule matches",
	[REFUSAL_DENIED] = "the policy denies it",
	[REFUSAL_FORWARDS] = "the service only forwards packets",
	[REFUSAL_LIMIT] = "the service has reached its limit of sessions",
	[REFUSAL_NO_HEADER] = "no PROXY header",
	[REFUSAL_RESOURCES] = "no resources for another session",
};
static_assert(REFUSALS == 6, "a name for each reason");

static void give_room(struct line_limit *limit, int64_t now)
{
	int64_t more = (now - limit->since_ms) / EVERY_MS;

	if (more >= BURST || limit->since_ms == 0) {
		limit->room = BURST;
		limit->since_ms = now;
	} else if (more > 0) {
		limit->room = limit->room + (unsigned)more < BURST ? limit->room + (unsigned)more : BURST;
		limit->since_ms += more * EVERY_MS;
	}
}

static void tell(struct refusals *r)
{
	r->telling = false;
	for (size_t i = 0; i < REFUSALS; i++) {
		if (r->limits[i].left_out == 0)
			continue;
		log_event(LOG_CORE_POLICY, 1, slice_cstr("nosession"), "More connections were refused than lines are logged",
			  F_TEXT("reason", refusal_reasons[i]), F_UINT("left_out", r->limits[i].left_out));
		r->limits[i].left_out = 0;
	}
}

static void on_tell(struct loop_timer *timer)
{
	tell((struct refusals *)((char *)timer - offsetof(struct refusals, tell)));
}

bool refusals_may_log(struct refusals *r, struct loop *loop, enum refusal why, uint64_t *left_out)
{
	struct line_limit *limit = &r->limits[why];

	give_room(limit, loop_now(loop));
	if (limit->room > 0) {
		limit->room--;
		*left_out = limit->left_out;
		limit->left_out = 0;
		return true;
	}
	limit->left_out++;
	if (!r->telling) {
		r->loop = loop;
		r->tell.on_expire = on_tell;
		r->telling = loop_timer_set(loop, &r->tell, loop_now(loop) + TELL_MS) == 0;
	}
	return false;
}

void refusals_finish(struct refusals *r)
{
	if (r->telling)
		loop_timer_clear(r->loop, &r->tell);
	tell(r);
}
