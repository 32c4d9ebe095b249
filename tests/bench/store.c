/* sallyport-store - what the store costs: messages a second alone and in groups, and a
 * million that wait. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "store/chore.h"
#include "store/outbox.h"
#include "store/schema.h"

static const char usage[] = "usage: sallyport-store DIR [ROWS]\n"
			    "\n"
			    "Makes DIR/bench.db (the folder must be there, the file not), adds "
			    "messages of 256 bytes one\n"
			    "commit each and in groups of 64, then until ROWS wait (1000000), "
			    "opens the file anew, reads\n"
			    "its first page, ends all of them by receipts. Prints one line of "
			    "JSON; the file stays.\n";

enum { SOME = 100, ALONE = 2000, GROUPS = 400, GROUP = 64, PAGE_ROWS = 1024, RECEIPT = 4096 };

static struct db db;
static struct sent sent;
static struct outbox outbox;
static const struct outbox_limits no_limits = { .max_rows = UINT64_MAX,
	.max_bytes = UINT64_MAX };

struct adding {
	struct chore chore;
	struct id id;
};

static enum err run_add(struct chore *c)
{
	static const char body[256] = { 'x' };
	struct adding *a = container_of(c, struct adding, chore);
	struct digest digest = { 0 };
	struct outbox_added added;
	uint64_t now_us = clock_unix_us();
	struct message m = {
		.id = a->id,
		.type = span_of("order.place"),
		.key = span_of("customer-4711"),
		.sent_unix_us = now_us,
		.expires_unix_ms = now_us / 1000 + 86400000,
		.body = { .at = body, .len = sizeof(body) },
	};

	return outbox_add(&outbox, span_of(""), &m, &digest, &no_limits, &added);
}

/* As the keeper does it: count commits of `group` messages each. Returns how long, or 0 when
 * one failed. */
static uint64_t add(uint64_t count, unsigned group)
{
	static struct adding adding[RECEIPT];
	uint64_t begun_us = clock_mono_us();

	for (uint64_t i = 0; i < count; i++) {
		struct node list;

		list_init(&list);
		for (unsigned n = 0; n < group; n++) {
			adding[n] = (struct adding){ .chore.run = run_add };
			id_make(&adding[n].id, clock_unix_ms());
			list_append(&list, &adding[n].chore.node);
		}
		chore_run_all(&db, &list);
		for (unsigned n = 0; n < group; n++) {
			if (adding[n].chore.status != ERR_OK)
				return 0;
		}
		if (db_tidy(&db) != ERR_OK)
			return 0;
	}
	return clock_mono_us() - begun_us;
}

static enum err open_all(const char *path)
{
	struct db_options options = { .schema = &schema_messages };
	enum err err = db_open(&db, path, &options);

	if (err == ERR_OK)
		err = sent_init(&sent, &db);
	return err != ERR_OK ? err : outbox_init(&outbox, &db, &sent);
}

static void close_all(void)
{
	outbox_fini(&outbox);
	sent_fini(&sent);
	db_close(&db);
}

/* KiB, from /proc/self/status: VmRSS now, VmHWM at most so far. */
static uint64_t memory_kib(const char *name)
{
	char text[4096];
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	uint64_t kib = 0;

	if (fd >= 0)
		close(fd);
	if (got <= 0)
		return 0;
	text[got] = '\0';
	const char *at = strstr(text, name);

	if (at == NULL)
		return 0;
	at += strcspn(at, "0123456789");
	struct span digits = { .at = at, .len = strspn(at, "0123456789") };

	return text_parse_u64(digits, &kib) == ERR_OK ? kib : 0;
}

/* Reads all by pages, as a relay does, and ends them by receipts. False when it failed. */
static bool drain(uint64_t *first_page_us, uint64_t *rows_out)
{
	uint64_t begun_us = clock_mono_us();
	uint64_t after = 0;

	*rows_out = 0;
	*first_page_us = 0;
	for (;;) {
		struct node rows;
		struct outbox_want want = { .after_seq = after,
			.through_seq = UINT64_MAX,
			.max_rows = PAGE_ROWS,
			.max_bytes = MIB(8) };
		struct outbox_range range = { .lo = after + 1 };
		struct outbox_end end = { .reason = span_of(""),
			.now_unix_ms = clock_unix_ms() };
		uint64_t removed;

		list_init(&rows);
		if (outbox_page(&outbox, span_of(""), &want, &rows) != ERR_OK)
			return false;
		if (*first_page_us == 0)
			*first_page_us = clock_mono_us() - begun_us;
		if (list_empty(&rows))
			return true;
		after = container_of(rows.prev, struct outbox_row, node)->message.seq;
		outbox_rows_free(&rows);
		range.hi = after;
		if (db_begin(&db) != ERR_OK ||
			outbox_remove(&outbox, span_of(""), &range, 1, &end, &removed) !=
				ERR_OK ||
			db_commit(&db) != ERR_OK || db_tidy(&db) != ERR_OK)
			return false;
		*rows_out += removed;
	}
}

static int measure(const char *path, uint64_t rows)
{
	struct stat about;
	uint64_t begun_us;
	uint64_t first_page_us;
	uint64_t drained;

	if (open_all(path) != ERR_OK)
		return 1;
	unsigned pages = db.log_pages;

	if (add(SOME, 1) == 0)
		return 1;
	pages = db.log_pages - pages; /* too few for the log to begin anew */
	uint64_t alone_us = add(ALONE, 1);
	uint64_t group_us = add(GROUPS, GROUP);
	uint64_t fill = (rows - SOME - ALONE - (uint64_t)GROUPS * GROUP) / RECEIPT;
	uint64_t fill_us = add(fill, RECEIPT);
	uint64_t waiting = SOME + ALONE + (uint64_t)GROUPS * GROUP + fill * RECEIPT;

	close_all();
	if (alone_us == 0 || group_us == 0 || fill_us == 0 || stat(path, &about) != 0)
		return 1;
	uint64_t before_kib = memory_kib("VmRSS:");

	begun_us = clock_mono_us();
	if (open_all(path) != ERR_OK)
		return 1;
	uint64_t open_us = clock_mono_us() - begun_us;
	uint64_t open_kib = memory_kib("VmRSS:");

	begun_us = clock_mono_us();
	if (!drain(&first_page_us, &drained))
		return 1;
	uint64_t drain_us = clock_mono_us() - begun_us;

	printf("{\"alone_per_s\":%.0f,\"alone_ms\":%.3f,\"alone_pages\":%.1f,\"groups_of_64_"
	       "per_s\":%.0f,"
	       "\"group_ms\":%.3f,\"waiting\":%llu,\"file_mib\":%.1f,\"open_ms\":%.0f,"
	       "\"rss_before_mib\":%.1f,\"rss_open_mib\":%.1f,\"first_page_ms\":%.1f,"
	       "\"ended\":%llu,\"ended_per_s\":%.0f,\"rss_most_mib\":%.1f}\n",
		ALONE * 1e6 / (double)alone_us, (double)alone_us / ALONE / 1e3,
		(double)pages / SOME, GROUPS * GROUP * 1e6 / (double)group_us,
		(double)group_us / GROUPS / 1e3, (unsigned long long)waiting,
		(double)about.st_size / 1048576, (double)open_us / 1e3,
		(double)before_kib / 1024, (double)open_kib / 1024, (double)first_page_us / 1e3,
		(unsigned long long)drained, (double)drained * 1e6 / (double)drain_us,
		(double)memory_kib("VmHWM:") / 1024);
	close_all();
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t rows = 1000000;
	char path[1024];

	if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		(void)fputs(usage, stdout);
		return 0;
	}
	if (argc < 2 || argc > 3 || argv[1][0] == '-' ||
		(argc == 3 && (text_parse_u64(span_of(argv[2]), &rows) != ERR_OK ||
				      rows < 50000 || rows > 100000000)) ||
		(size_t)snprintf(path, sizeof(path), "%s/bench.db", argv[1]) >= sizeof(path)) {
		(void)fputs(usage, stderr);
		return 2;
	}
	if (access(path, F_OK) == 0) {
		(void)fprintf(stderr, "sallyport-store: %s is there already\n", path);
		return 2;
	}
	return measure(path, rows);
}
