/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics and messages: what readers must survive from a writer that lies or breaks. */
#include "server/message.h"
#include "server/statistics.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void reader_of(const struct stats *writer, struct stats *reader)
{
	int fd = fcntl(writer->fd, F_DUPFD_CLOEXEC, 3);

	assert_true(fd >= 0);
	assert_int_equal(stats_open(reader, fd), 0);
}

static void readers_see_whole_records(void **state)
{
	struct stats w, r;
	struct stats_service service;
	struct stats_session session;

	assert_int_equal(stats_create(&w, 1, 7, 2, 4), 0);
	reader_of(&w, &r);
	stats_text(w.services[1].name, STATS_NAME_MAX, "mail");
	assert_true(stats_read_service(&r, 1, &service));
	assert_string_equal(service.name, "mail");
	stats_write_begin(&w.services[1].seq);
	assert_false(stats_read_service(&r, 1, &service));	/* half written, and stays so: no endless loop */
	stats_write_end(&w.services[1].seq);
	assert_true(stats_read_service(&r, 1, &service));
	/* Outside of the file, also by far. */
	assert_false(stats_read_service(&r, 2, &service));
	assert_false(stats_read_service(&r, 0xffffffffu, &service));
	assert_true(stats_read_session(&r, 3, &session));
	assert_false(stats_read_session(&r, 4, &session));
	assert_false(stats_read_session(&r, 0xffffffffu, &session));
	/* Text without an end. */
	memset(w.sessions[0].id, 'x', sizeof(w.sessions[0].id));
	assert_true(stats_read_session(&r, 0, &session));
	assert_int_equal(strlen(session.id), sizeof(session.id) - 1);
	stats_close(&r);
	stats_close(&w);
	stats_close(&w);
}

/* The head may say anything: what was mapped is what the file holds. */
static void a_lying_head_changes_nothing(void **state)
{
	struct stats w, r;
	struct stats_service service;

	assert_int_equal(stats_create(&w, 0, 1, 1, 1), 0);
	reader_of(&w, &r);
	w.head->n_services = w.head->n_sessions = 0x7fffffff;
	assert_false(stats_read_service(&r, 5, &service));
	stats_close(&r);
	assert_int_equal(stats_open(&r, w.fd), -EBADMSG);
	w.head->n_services = w.head->n_sessions = 1;
	w.head->magic[0] = '?';
	assert_int_equal(stats_open(&r, w.fd), -EBADMSG);
	stats_close(&w);
}

static void files_that_could_shrink_are_refused(void **state)
{
	struct stats r;
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct stats_head head = { .magic = "SPSTATS" };

	head.magic[7] = '2';
	assert_int_equal(write(fd, &head, sizeof(head)), sizeof(head));
	assert_int_equal(stats_open(&r, fd), -EBADMSG);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
	assert_int_equal(stats_open(&r, fd), 0);
	stats_close(&r);
}

static void numbers_go_on_by_name(void **state)
{
	struct stats old, new;

	assert_int_equal(stats_create(&old, 0, 1, 3, 1), 0);
	assert_int_equal(stats_create(&new, 0, 2, 2, 1), 0);
	stats_text(old.services[0].name, STATS_NAME_MAX, "web");
	stats_text(old.services[1].name, STATS_NAME_MAX, "mail");
	stats_text(old.services[2].name, STATS_NAME_MAX, "gone");
	old.services[0].started = 10;
	old.services[1].started = 20;
	old.services[2].started = 30;
	stats_text(new.services[0].name, STATS_NAME_MAX, "mail");
	stats_text(new.services[1].name, STATS_NAME_MAX, "fresh");
	stats_inherit(&new, &old);
	assert_int_equal(new.services[0].started, 20);
	assert_int_equal(new.services[1].started, 0);
	old.head->arrivals = 3;		/* each may take a number yet */
	stats_inherit(&new, &old);
	assert_int_equal(new.services[0].started, 23);
	stats_clear_sessions(&old);
	stats_inherit(&new, &old);
	assert_int_equal(new.services[0].started, 20);
	stats_close(&old);
	stats_close(&new);
}

static void a_dead_writer_leaves_no_sessions(void **state)
{
	struct stats w;
	struct stats_session session;

	assert_int_equal(stats_create(&w, 0, 1, 1, 2), 0);
	w.services[0].running = 1;
	w.services[0].started = 5;
	w.head->sessions = w.head->sessions_used = 1;
	stats_write_begin(&w.sessions[0].seq);		/* it died in the middle */
	w.sessions[0].in_use = 1;
	stats_clear_sessions(&w);
	assert_true(stats_read_session(&w, 0, &session));
	assert_int_equal(session.in_use, 0);
	assert_int_equal(w.services[0].running, 0);
	assert_int_equal(w.services[0].started, 5);
	assert_int_equal(w.head->sessions, 0);
	stats_close(&w);
}

/* Beside the records: each service its own, and none outside. */
static void counters_stand_alone(void **state)
{
	struct stats w, r;
	struct stats_service service;
	struct stats_session session;
	uint64_t out[COUNTERS_MAX];

	assert_int_equal(stats_create(&w, 0, 1, 2, 1), 0);
	reader_of(&w, &r);
	for (size_t i = 0; i < 2 * COUNTERS_MAX; i++)
		w.counters[i] = i + 1;
	for (uint32_t k = 0; k < 2; k++) {
		assert_true(stats_read_counters(&r, k, out));
		for (size_t i = 0; i < COUNTERS_MAX; i++)
			assert_int_equal(out[i], k * COUNTERS_MAX + i + 1);
	}
	assert_false(stats_read_counters(&r, 2, out));
	assert_false(stats_read_counters(&r, 0xffffffffu, out));
	assert_true(stats_read_service(&r, 1, &service));
	assert_int_equal(service.started, 0);
	assert_true(stats_read_session(&r, 0, &session));
	assert_int_equal(session.in_use, 0);
	stats_clear_sessions(&w);		/* what a dead worker counted stays */
	assert_true(stats_read_counters(&r, 1, out));
	assert_int_equal(out[0], COUNTERS_MAX + 1);
	stats_close(&r);
	stats_close(&w);
}

static void limits_of_the_file(void **state)
{
	struct stats w;

	assert_int_equal(stats_create(&w, 0, 1, STATS_SERVICES_MAX + 1, 1), -EINVAL);
	assert_int_equal(stats_create(&w, 0, 1, 1, STATS_SESSIONS_MAX + 1), -EINVAL);
}

/* ---- messages ---- */

static int count_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void messages_arrive_whole(void **state)
{
	struct message_room *room = malloc(sizeof(*room));
	uint8_t *body = calloc(1, MESSAGE_BODY_MAX + 1);
	struct message m = { .type = MSG_LOG, .slot = 3, .number = 4, .value = -5 }, got;
	int pair[2], before;

	assert_int_equal(message_pair(pair), 0);
	before = count_fds();
	m.body = slice_of(body, MESSAGE_BODY_MAX);
	m.n_fds = 2;
	m.fds[0] = pair[0];
	m.fds[1] = pair[1];
	assert_int_equal(message_send(pair[0], &m), 0);
	assert_int_equal(message_receive(pair[1], &got, room), 1);
	assert_int_equal(got.type, MSG_LOG);
	assert_int_equal(got.slot, 3);
	assert_int_equal(got.number, 4);
	assert_int_equal(got.value, -5);
	assert_int_equal(got.body.len, MESSAGE_BODY_MAX);
	assert_int_equal(got.n_fds, 2);
	message_close_fds(&got);
	assert_int_equal(count_fds(), before);
	assert_int_equal(message_receive(pair[1], &got, room), -EAGAIN);
	m.body.len = MESSAGE_BODY_MAX + 1;
	assert_int_equal(message_send(pair[0], &m), -EINVAL);
	close(pair[0]);
	assert_int_equal(message_receive(pair[1], &got, room), 0);
	close(pair[1]);
	free(body);
	free(room);
}

static void send_raw(int sock, const void *octets, size_t n)
{
	assert_int_equal(send(sock, octets, n, 0), (ssize_t)n);
}

static void odd_records_are_refused(void **state)
{
	struct { uint32_t type, slot, number, body_len; int64_t value; char body[16]; } raw = { .type = MSG_LOG };
	struct message_room *room = malloc(sizeof(*room));
	struct message got;
	char *big = calloc(1, 24 + MESSAGE_BODY_MAX + 1);
	int pair[2];

	assert_int_equal(message_pair(pair), 0);
	for (size_t n = 1; n < 24; n++) {			/* cut at every octet */
		send_raw(pair[0], &raw, n);
		assert_int_equal(message_receive(pair[1], &got, room), -EBADMSG);
	}
	send_raw(pair[0], &raw, 24);
	assert_int_equal(message_receive(pair[1], &got, room), 1);
	send_raw(pair[0], &raw, 25);				/* more than it says */
	assert_int_equal(message_receive(pair[1], &got, room), -EBADMSG);
	raw.body_len = 17;					/* less than it says */
	send_raw(pair[0], &raw, sizeof(raw));
	assert_int_equal(message_receive(pair[1], &got, room), -EBADMSG);
	raw.body_len = 16;
	raw.type = MSG_TYPE_COUNT;
	send_raw(pair[0], &raw, sizeof(raw));
	assert_int_equal(message_receive(pair[1], &got, room), -EBADMSG);
	raw.type = 0;
	send_raw(pair[0], &raw, sizeof(raw));
	assert_int_equal(message_receive(pair[1], &got, room), -EBADMSG);
	send_raw(pair[0], big, 24 + MESSAGE_BODY_MAX + 1);
	assert_int_equal(message_receive(pair[1], &got, room), -EBADMSG);
	close(pair[0]);
	close(pair[1]);
	free(big);
	free(room);
}

static void files_carry_what_is_large(void **state)
{
	uint8_t *octets;
	size_t len;
	int fd = message_file(SLICE("hello")), pipes[2];

	assert_true(fd >= 0);
	assert_int_equal(message_file_read(fd, 4, &octets, &len), -EFBIG);
	assert_int_equal(message_file_read(fd, 5, &octets, &len), 0);
	assert_int_equal(len, 5);
	assert_string_equal((char *)octets, "hello");
	assert_int_equal(write(fd, "x", 1), -1);
	free(octets);
	close(fd);
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(message_file_read(pipes[0], 100, &octets, &len), -EBADMSG);	/* would wait */
	close(pipes[0]);
	close(pipes[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(readers_see_whole_records),
		cmocka_unit_test(a_lying_head_changes_nothing),
		cmocka_unit_test(files_that_could_shrink_are_refused),
		cmocka_unit_test(numbers_go_on_by_name),
		cmocka_unit_test(a_dead_writer_leaves_no_sessions),
		cmocka_unit_test(counters_stand_alone),
		cmocka_unit_test(limits_of_the_file),
		cmocka_unit_test(messages_arrive_whole),
		cmocka_unit_test(odd_records_are_refused),
		cmocka_unit_test(files_carry_what_is_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
