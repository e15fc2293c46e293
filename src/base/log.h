/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logging. A message has a tag ("smtp.violation"), a level (0 always .. 10 dumps), the session
 * it belongs to, a static summary and fields. The text form is the one that log analysers of
 * the policy language's users know:
 *
 *	smtp.violation(2): (svc/default/mail:7/default/smtp): Unknown command; request='FOO'
 *
 * the JSON form is one object a line with the same content. Peers' octets appear only as
 * field values and are escaped there: no control octet, no quote, no backslash gets through
 * unescaped, so that nobody can forge a line. A value is cut at LOG_VALUE_MAX octets with "..."
 * behind it, a line at LOG_LINE_MAX: a pipe takes that much whole or not at all.
 *
 * Writing never waits: a process hands its lines to a non-blocking channel (a pipe to the
 * supervisor, or standard error); what does not fit is dropped, counted and reported once
 * there is room again.
 */
#ifndef SALLYPORT_BASE_LOG_H
#define SALLYPORT_BASE_LOG_H

#include "base/slice.h"

#define LOG_VALUE_MAX 1024u	/* octets of a value in escaped form */
#define LOG_CELL_MAX 256u	/* of a cell of a list */
#define LOG_LINE_MAX 4096u	/* octets with the line feed: PIPE_BUF */
#define LOG_SPEC_MAX 1024u	/* octets of a spec */

/* Tags that the engine uses; the name is "core.session" for LOG_CORE_SESSION. */
#define LOG_TAGS(X) \
	X(CORE_SESSION, "core.session") X(CORE_DEBUG, "core.debug") X(CORE_ERROR, "core.error") \
	X(CORE_POLICY, "core.policy") X(CORE_MESSAGE, "core.message") X(CORE_INFO, "core.info") \
	X(CORE_AUTH, "core.auth") X(CORE_SUMMARY, "core.summary") X(CORE_ACCOUNTING, "core.accounting") \
	X(CORE_STDERR, "core.stderr") X(CORE_VIOLATION, "core.violation") \
	X(TLS_ACCOUNTING, "tls.accounting") \
	X(SMTP_DEBUG, "smtp.debug") X(SMTP_ERROR, "smtp.error") X(SMTP_INFO, "smtp.info") \
	X(SMTP_POLICY, "smtp.policy") X(SMTP_REQUEST, "smtp.request") X(SMTP_RESPONSE, "smtp.response") \
	X(SMTP_VIOLATION, "smtp.violation") X(SMTP_ACCOUNTING, "smtp.accounting") X(SMTP_RECORD, "smtp.record") \
	X(PLUG_DEBUG, "plug.debug") X(PLUG_ERROR, "plug.error") X(PLUG_POLICY, "plug.policy") \
	X(PLUG_SESSION, "plug.session") X(PLUG_ACCOUNTING, "plug.accounting")

#define LOG_TAG_ENUM(id, name) LOG_##id,
enum log_tag { LOG_TAGS(LOG_TAG_ENUM) LOG_TAG_COUNT };
#undef LOG_TAG_ENUM

/* A peer did what it must not: tags named "*.violation". */
static inline bool log_tag_is_violation(enum log_tag tag)
{
	return tag == LOG_CORE_VIOLATION || tag == LOG_SMTP_VIOLATION;
}

#define LOG_COLUMNS 3

/*
 * Rows of the same shape. In JSON an array of objects with these members, in text "a b c; d e f".
 * Rows stand on the line whole or not at all; those that found no room, and more, are counted:
 * "; and 7 more", in JSON a second member KEY_more. A cell is cut at LOG_CELL_MAX octets.
 */
struct log_row {
	struct slice cells[LOG_COLUMNS];
};
struct log_list {
	const char *columns[LOG_COLUMNS];
	const struct log_row *rows;
	size_t n_rows;
	uint64_t more;			/* that there were, besides rows */
};

struct log_field {
	struct slice key;
	enum { LOG_FIELD_OCTETS, LOG_FIELD_INT, LOG_FIELD_UINT, LOG_FIELD_LIST } kind;
	struct slice octets;
	int64_t number;
	const struct log_list *list;
};

#define F_OCTETS(key, slice) ((struct log_field){ slice_cstr(key), LOG_FIELD_OCTETS, (slice), 0, NULL })
#define F_TEXT(key, cstr) ((struct log_field){ slice_cstr(key), LOG_FIELD_OCTETS, slice_cstr(cstr), 0, NULL })
#define F_UINT(key, n) ((struct log_field){ slice_cstr(key), LOG_FIELD_UINT, { NULL, 0 }, (int64_t)(uint64_t)(n), NULL })
#define F_INT(key, n) ((struct log_field){ slice_cstr(key), LOG_FIELD_INT, { NULL, 0 }, (int64_t)(n), NULL })
#define F_LIST(key, list) ((struct log_field){ slice_cstr(key), LOG_FIELD_LIST, { NULL, 0 }, 0, (list) })

enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/*
 * Set up this process's log. fd is where lines go; not owned. If it is a pipe, writing becomes
 * non-blocking: on a description of our own where the system allows one, so that others who
 * hold the pipe are not surprised. spec as in base/logspec.h ("*.summary:4,core.debug:6"; NULL
 * = none); the first entry that matches a tag decides, none: verbosity (0..10). Returns 0 or
 * -EINVAL, nothing changed (bad spec; *bad is the octet in it that is wrong, if bad is not NULL).
 */
int log_open(int fd, enum log_format format, int verbosity, const char *spec, const char **bad);
int log_set_spec(int verbosity, const char *spec, const char **bad);
void log_set_fd(int fd);

/*
 * While on, lines are held back and written together: by log_flush, by the next line that does
 * not fit with them (a pipe takes LOG_LINE_MAX octets at once), and at once at level 0. For
 * event loops, which flush now and then. Off (as at the start) flushes.
 */
void log_batch(bool batch);
bool log_flush(void);		/* false: something is left, there is no room now */
bool log_is_held(void);		/* lines wait to be flushed */

/*
 * At the end of a process, which is the one place that may wait: what is held goes, and the
 * report of what was dropped, within max_ms. Switches batches off. false: something is left.
 */
bool log_finish(int max_ms);

int log_verbosity(void);
const char *log_spec(void);

bool log_wants(enum log_tag tag, int level);
bool log_wants_name(struct slice tag, int level);	/* for tags that a policy invents */

/* session may be empty: "nosession". Use the macro, which formats nothing unwanted. */
void log_write(enum log_tag tag, int level, struct slice session, const char *summary,
	       const struct log_field *fields, size_t n_fields);
void log_write_name(struct slice tag, int level, struct slice session, struct slice message);

#define log_event(tag, level, session, summary, ...) \
	do { \
		if (log_wants((tag), (level))) { \
			const struct log_field fields_[] = { { .key = { NULL, 0 } }, ##__VA_ARGS__ }; \
			log_write((tag), (level), (session), (summary), fields_ + 1, \
				  sizeof(fields_) / sizeof(fields_[0]) - 1); \
		} \
	} while (0)

/*
 * The first entry of the spec that can never decide, since an earlier one matches all it does;
 * whoever read the spec from a user warns of it. Empty: there is none.
 */
struct slice log_spec_unreachable(void);

/* Lines dropped because the channel was full, since the start. */
uint64_t log_dropped(void);

/* Append s to dst (size octets) in the escaped form of field values; always NUL-terminated.
 * Printable ASCII stays but for quotes and backslashes; all else is \xHH. What does not fit is
 * left out, never half an escape. Returns the length written. */
size_t log_escape(char *dst, size_t size, struct slice s);

#endif
