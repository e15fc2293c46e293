/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to the lookout; the test is the lookout. */
#include "../io/io_test.h"

#include "session/asker.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ASKING_MAX (ASKER_QUEUE_MAX + 8)
#define DEADLINE_MS 1000

struct asking {
	struct co *co;
	char text[16];
	size_t ceiling;			/* of the answer */
	int result;
	char answer[32];
	bool ended;
};

struct packet {
	struct lookout_question head;
	char body[32];
	size_t len;			/* of the body */
};

static struct virtual_clock virtual;
static struct loop *loop;
static struct asker *asker;
static int lookout = -1;		/* the test's end */
static unsigned wanted;
static struct asking asking[ASKING_MAX];
static unsigned n_asking, n_ended;

static void on_want(void *arg)
{
	wanted++;
}

static void connect_lookout(void)
{
	int pair[2];

	if (lookout >= 0)
		close(lookout);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	lookout = pair[0];
	assert_int_equal(asker_connect(asker, pair[1]), 0);
}

static int setup(void **state)
{
	virtual_clock_init(&virtual);
	loop = loop_create(&virtual.clock);
	asker = asker_create(loop, on_want, NULL);
	wanted = n_asking = n_ended = 0;
	return loop != NULL && asker != NULL ? 0 : -1;
}

static int teardown(void **state)
{
	assert_int_equal(n_ended, n_asking);
	asker_free(&asker);
	assert_int_equal(loop_coroutines(loop), 0);
	loop_free(&loop);
	if (lookout >= 0)
		close(lookout);
	lookout = -1;
	return 0;
}

static void run_asking(void *arg)
{
	struct asking *q = arg;
	struct buffer answer = { .ceiling = q->ceiling };

	q->result = asker_ask(asker, LOOKOUT_NOTHING, slice_cstr(q->text), deadline_in(DEADLINE_MS), &answer);
	snprintf(q->answer, sizeof(q->answer), "%.*s", (int)answer.len, answer.len > 0 ? (const char *)answer.data : "");
	buffer_release(&answer);
	q->ended = true;
	q->co = NULL;
	n_ended++;
}

static struct asking *ask_for(unsigned number)
{
	struct asking *q = &asking[n_asking++];

	assert_true(n_asking <= ASKING_MAX);
	*q = (struct asking){ .ceiling = LOOKOUT_BODY_MAX };
	snprintf(q->text, sizeof(q->text), "question %u", number);
	q->co = co_spawn(loop, run_asking, q);
	assert_non_null(q->co);
	return q;
}

static struct asking *ask(void)
{
	return ask_for(n_asking + 1);
}

static void turn(void)
{
	for (int i = 0; i < 6; i++)
		loop_turn(loop, 0);
}

static bool take(struct packet *out)
{
	uint8_t octets[64];
	ssize_t n = recv(lookout, octets, sizeof(octets), MSG_DONTWAIT);

	if (n < 0)
		return false;
	assert_true((size_t)n >= sizeof(out->head));
	memcpy(&out->head, octets, sizeof(out->head));
	out->len = (size_t)n - sizeof(out->head);
	memcpy(out->body, octets + sizeof(out->head), out->len);
	out->body[out->len] = '\0';
	return true;
}

static void answer(uint32_t number, int result, const char *body)
{
	uint8_t octets[64];
	struct lookout_answer head = { .number = number, .result = result };

	memcpy(octets, &head, sizeof(head));
	memcpy(octets + sizeof(head), body, strlen(body));
	assert_true(send(lookout, octets, sizeof(head) + strlen(body), 0) > 0);
}

static void test_wanted_when_it_is_needed(void **state)
{
	struct asking *q;
	struct packet p;

	turn();
	assert_int_equal(wanted, 0);
	q = ask();
	ask();
	turn();
	assert_int_equal(wanted, 1);
	connect_lookout();
	turn();
	assert_true(take(&p));
	assert_string_equal(p.body, "question 1");
	answer(p.head.number, 3, "yes");
	assert_true(take(&p));
	answer(p.head.number, -ENOENT, "what is not read");
	turn();
	assert_true(q->ended);
	assert_int_equal(q->result, 3);
	assert_string_equal(q->answer, "yes");
	assert_int_equal(q[1].result, -ENOENT);
	assert_string_equal(q[1].answer, "");
	assert_int_equal(wanted, 1);
}

static void test_answers_in_any_order(void **state)
{
	struct packet p[3];

	connect_lookout();
	for (int i = 0; i < 3; i++)
		ask();
	turn();
	for (int i = 0; i < 3; i++)
		assert_true(take(&p[i]));
	for (int i = 2; i >= 0; i--)
		answer(p[i].head.number, i, p[i].body);
	turn();
	for (int i = 0; i < 3; i++) {
		assert_int_equal(asking[i].result, i);
		assert_string_equal(asking[i].answer, asking[i].text);
	}
}

static void test_asked_again_of_the_next_one(void **state)
{
	struct packet first, second;
	struct asking *q;

	connect_lookout();
	q = ask();
	turn();
	assert_true(take(&first));
	close(lookout);
	lookout = -1;
	turn();
	assert_false(q->ended);
	assert_int_equal(wanted, 1);
	connect_lookout();
	turn();
	assert_true(take(&second));
	assert_string_equal(second.body, first.body);
	assert_int_not_equal(second.head.number, first.head.number);
	answer(second.head.number, 0, "");
	turn();
	assert_true(q->ended);
	assert_int_equal(q->result, 0);
}

/* Whatever is wrong with what comes, it is nobody's answer. */
static void test_nonsense(void **state)
{
	static const char *const nonsense[] = { "", "short", "12345678" };
	struct packet p;
	struct asking *q = ask();

	for (size_t i = 0; i < ARRAY_LEN(nonsense); i++) {
		connect_lookout();
		turn();
		assert_true(take(&p));
		(void)send(lookout, nonsense[i], strlen(nonsense[i]), 0);	/* the last: for a number that nobody has */
		turn();
		assert_false(q->ended);
	}
	assert_int_equal(wanted, 3);
	connect_lookout();
	turn();
	assert_true(take(&p));
	answer(p.head.number, 1, "");
	turn();
	assert_int_equal(q->result, 1);
	answer(p.head.number, 1, "unasked");	/* the connection breaks, and nobody needs one */
	turn();
	assert_int_equal(wanted, 3);
}

static void test_deadline(void **state)
{
	struct packet p;
	struct asking *nobody_there = ask(), *no_answer;

	turn();
	virtual.now += DEADLINE_MS;
	turn();
	assert_int_equal(nobody_there->result, -ETIMEDOUT);
	connect_lookout();
	no_answer = ask();
	turn();
	assert_true(take(&p));
	virtual.now += DEADLINE_MS;
	turn();
	assert_int_equal(no_answer->result, -ETIMEDOUT);
	answer(p.head.number, 0, "too late");
	no_answer = ask();
	turn();
	assert_false(no_answer->ended);
	assert_true(take(&p));
	answer(p.head.number, 7, "");
	turn();
	assert_int_equal(no_answer->result, 7);
}

static void test_cancel(void **state)
{
	struct asking *waits = ask(), *sent;

	turn();
	co_cancel(waits->co);
	turn();
	assert_int_equal(waits->result, -ECANCELED);
	connect_lookout();
	sent = ask();
	turn();
	co_cancel(sent->co);
	turn();
	assert_int_equal(sent->result, -ECANCELED);
}

static void test_answer_over_the_ceiling(void **state)
{
	struct packet p;
	struct asking *q = ask();

	q->ceiling = 4;
	connect_lookout();
	turn();
	assert_true(take(&p));
	answer(p.head.number, 0, "five!");
	turn();
	assert_int_equal(q->result, -ENOMEM);
}

/* No more than the window are there at a time, and no more than the queue ask; all are answered in the end. */
static void test_bounds(void **state)
{
	struct packet p;
	unsigned there = 0;

	connect_lookout();
	for (unsigned i = 0; i < ASKER_QUEUE_MAX + 1; i++)
		ask();
	turn();
	assert_int_equal(n_ended, 1);
	assert_int_equal(asking[ASKER_QUEUE_MAX].result, -EBUSY);
	while (take(&p))
		there++;
	assert_int_equal(there, LOOKOUT_WINDOW);
	while (n_ended < n_asking) {
		unsigned before = n_ended;

		for (unsigned i = 0; i < there; i++)
			answer(p.head.number - i, 0, "");
		turn();
		assert_int_equal(n_ended, before + there);
		for (there = 0; take(&p); there++)
			;
	}
}

/* Many want to know the same: it is asked once, and each has the answer. */
static void test_the_same(void **state)
{
	struct packet p;

	connect_lookout();
	for (int i = 0; i < 3; i++)
		ask_for(7);
	ask_for(8);
	asking[1].ceiling = 2;
	turn();
	assert_true(take(&p));
	assert_string_equal(p.body, "question 7");
	answer(p.head.number, 5, "all");
	assert_true(take(&p));
	assert_string_equal(p.body, "question 8");
	assert_false(take(&p));
	turn();
	assert_int_equal(asking[0].result, 5);
	assert_string_equal(asking[0].answer, "all");
	assert_int_equal(asking[1].result, -ENOMEM);
	assert_int_equal(asking[2].result, 5);
	assert_string_equal(asking[2].answer, "all");
	assert_false(asking[3].ended);
	ask_for(7);			/* that one is over */
	turn();
	answer(p.head.number, 0, "");
	assert_true(take(&p));
	assert_string_equal(p.body, "question 7");
	answer(p.head.number, -ENOENT, "");
	turn();
	assert_int_equal(asking[4].result, -ENOENT);
}

/* Who comes back with a question that nobody answers takes no second place at the lookout. */
static void test_the_same_after_giving_up(void **state)
{
	struct packet p, other;

	connect_lookout();
	for (unsigned i = 0; i < LOOKOUT_WINDOW + 8; i++) {
		ask_for(1);
		turn();
		virtual.now += DEADLINE_MS;
		turn();
		assert_int_equal(asking[i].result, -ETIMEDOUT);
	}
	assert_true(take(&p));
	assert_false(take(&other));
	ask_for(1);
	ask_for(2);
	turn();
	assert_true(take(&other));
	assert_string_equal(other.body, "question 2");
	answer(other.head.number, 0, "");
	answer(p.head.number, 9, "late");
	turn();
	assert_int_equal(asking[LOOKOUT_WINDOW + 8].result, 9);
	assert_string_equal(asking[LOOKOUT_WINDOW + 8].answer, "late");
}

/* Nobody waits for it: it is not asked of the next lookout. */
static void test_given_up_and_cut_off(void **state)
{
	struct asking *q;
	struct packet p;

	connect_lookout();
	q = ask();
	turn();
	assert_true(take(&p));
	co_cancel(q->co);
	turn();
	connect_lookout();
	turn();
	assert_false(take(&p));
	assert_int_equal(wanted, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_wanted_when_it_is_needed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_answers_in_any_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_asked_again_of_the_next_one, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nonsense, setup, teardown),
		cmocka_unit_test_setup_teardown(test_deadline, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cancel, setup, teardown),
		cmocka_unit_test_setup_teardown(test_answer_over_the_ceiling, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_same, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_same_after_giving_up, setup, teardown),
		cmocka_unit_test_setup_teardown(test_given_up_and_cut_off, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
