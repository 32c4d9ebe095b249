/* crash_store - a process that writes through the keeper is killed, or its disk loses power,
 * again and again: nothing that it told may be missing. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "daemon/keeper.h"
#include "lib/must.h"
#include "unit/random.h"
#include "unit/store_rig.h"

static const char usage[] =
	"usage: crash_store [--cycles N] [--seed S] [--end kill|power] [--broken normal]\n"
	"                   [--where-possible] [--json]\n"
	"\n"
	"A child adds messages to an outbox and ends some, through the keeper, telling each "
	"commit\n"
	"over a pipe. It is killed at a random moment (kill), or the file system under it is "
	"shut\n"
	"down without writing anything more (power: an ext4 image on a loop device; needs "
	"root). The\n"
	"store is opened again, by the next child or by the parent, who looks for all that was "
	"told.\n"
	"\n"
	"  --cycles N       how often (300)\n"
	"  --seed S         of the random moments (1)\n"
	"  --broken normal  synchronous=NORMAL in the child: a power cut must be seen to lose "
	"something\n"
	"  --where-possible a machine without loop devices is no failure\n"
	"  --json           one line of JSON instead of one of text\n"
	"\n"
	"Exit: 0 nothing lost; 1 something was, or could not be opened; 2 called wrongly;\n"
	"      3 power: no loop devices here\n";

enum {
	WORKERS = 32,
	NUMBERS_MAX = 8 * 1000 * 1000,
	LATEST_KILL_US = 12000,
	IMAGE_MIB = 24,
};

enum how { BY_KILL = 0, BY_POWER };

static struct {
	uint64_t cycles;
	uint64_t seed;
	enum how how;
	bool is_broken;
	bool is_json;
	bool is_easy; /* --where-possible */
} settings = { .cycles = 300, .seed = 1 };

/* What the child tells. Smaller than PIPE_BUF, so it comes whole. */
enum told_kind { TOLD_ADDED = 1, TOLD_ENDING, TOLD_ENDED, TOLD_FAILED };

struct told {
	uint32_t kind;
	uint32_t number;
};

/* ---- the child ---- */

struct worker {
	struct chore chore;
	uint32_t number;
	struct outbox_added added;
};

static struct rig rig;
static struct loop loop;
static struct keeper keeper;
static struct worker workers[WORKERS];
static uint32_t next_number;
static int tell_fd;

static void tell(enum told_kind kind, uint32_t number)
{
	struct told told = { .kind = kind, .number = number };

	if (write(tell_fd, &told, sizeof(told)) != (ssize_t)sizeof(told))
		_exit(1);
}

static enum err run_add(struct chore *c)
{
	struct worker *w = container_of(c, struct worker, chore);
	static _Thread_local char body[12000];
	struct message m = rig_message(w->number);
	struct digest digest = rig_digest(w->number);

	m.body = (struct span){ .at = body, .len = w->number % 16 == 0 ? sizeof(body) : 200 };
	return outbox_add(&rig.outbox, span_of(""), &m, &digest, &rig_no_limits, &w->added);
}

static enum err run_end(struct chore *c)
{
	struct worker *w = container_of(c, struct worker, chore);
	struct outbox_range range = { .lo = w->added.seq, .hi = w->added.seq };
	struct outbox_end end = {
		.reason = span_of(""), .now_unix_ms = RIG_NOW_MS, .keep_ms = 1
	};
	uint64_t removed;

	return outbox_remove(&rig.outbox, span_of(""), &range, 1, &end, &removed);
}

static void post(struct worker *w, chore_fn run, chore_done_fn on_done)
{
	w->chore = (struct chore){ .run = run, .on_done = on_done };
	if (keeper_post(&keeper, &w->chore) != ERR_OK)
		_exit(1);
}

static void on_added(struct chore *c, enum err status);

static void add_next(struct worker *w)
{
	w->number = next_number++;
	post(w, run_add, on_added);
}

/* The child does not end by itself: that a store has failed is for the parent to find. */
static void on_ended(struct chore *c, enum err status)
{
	struct worker *w = container_of(c, struct worker, chore);

	tell(status == ERR_OK ? TOLD_ENDED : TOLD_FAILED, w->number);
	if (status == ERR_OK)
		add_next(w);
}

static void on_added(struct chore *c, enum err status)
{
	struct worker *w = container_of(c, struct worker, chore);

	tell(status == ERR_OK ? TOLD_ADDED : TOLD_FAILED, w->number);
	if (status != ERR_OK)
		return;
	if (w->number % 3 != 0) {
		add_next(w);
		return;
	}
	tell(TOLD_ENDING, w->number);
	post(w, run_end, on_ended);
}

static void live(uint32_t first_number, int fd)
{
	tell_fd = fd;
	next_number = first_number;
	if (rig_try_open(&rig) != ERR_OK)
		_exit(1);
	if (settings.is_broken)
		(void)sqlite3_exec(rig.db.sql, "PRAGMA synchronous = NORMAL", NULL, NULL, NULL);
	if (loop_init(&loop) != ERR_OK ||
		keeper_start(&keeper, &loop, &rig.db, NULL, NULL) != ERR_OK)
		_exit(1);
	for (int i = 0; i < WORKERS; i++)
		add_next(&workers[i]);
	loop_run(&loop);
}

/* ---- what is known ---- */

enum known { NOTHING = 0, ADDED, ENDED, UNSURE };

static struct {
	uint8_t known[NUMBERS_MAX];
	uint32_t first; /* numbers below are settled */
	uint32_t next;
	uint64_t told;
	uint64_t looked_for;
	uint64_t lost;
	uint64_t risen; /* ended, and there again */
	uint64_t unopened;
	uint64_t random;
} ledger;

/* What is told while the power goes would be heard by nobody: a sync that is under way just
 * then may come back well without being so. It counts for nothing. */
static bool is_power_going;

static enum known known_by(enum told_kind kind)
{
	if (is_power_going || kind == TOLD_ENDING)
		return UNSURE;
	return kind == TOLD_ADDED ? ADDED : ENDED;
}

static void note(const struct told *told)
{
	if (told->kind == TOLD_FAILED)
		return;
	if (told->number >= NUMBERS_MAX)
		must_fail("too many messages: use fewer cycles");
	ledger.told += is_power_going ? 0 : 1;
	ledger.known[told->number] = (uint8_t)known_by(told->kind);
	if (told->number >= ledger.next)
		ledger.next = told->number + 1;
}

static bool take_told(int fd)
{
	struct told told;
	ssize_t got = read(fd, &told, sizeof(told));

	if (got != (ssize_t)sizeof(told))
		return false;
	note(&told);
	return true;
}

static uint32_t number_of(const struct outbox_row *row)
{
	uint32_t number = 0;

	for (int i = 4; i < 8; i++)
		number = number << 8 | row->message.id.byte[i];
	return number;
}

static uint64_t mark_found(uint8_t *found, uint32_t count)
{
	struct node rows;
	uint64_t last = 0;

	for (;;) {
		struct outbox_want want = { .after_seq = last,
			.through_seq = UINT64_MAX,
			.max_rows = 1000,
			.max_bytes = MIB(4) };

		list_init(&rows);
		if (outbox_page(&rig.outbox, span_of(""), &want, &rows) != ERR_OK)
			must_fail("the store cannot be read");
		if (list_empty(&rows))
			return last;
		list_each (n, &rows) {
			struct outbox_row *row = container_of(n, struct outbox_row, node);
			uint32_t number = number_of(row);

			last = row->message.seq;
			if (number >= ledger.first && number - ledger.first < count)
				found[number - ledger.first] = 1;
		}
		outbox_rows_free(&rows);
	}
}

static void compare(const uint8_t *found, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		enum known known = ledger.known[ledger.first + i];

		ledger.looked_for += known == ADDED || known == ENDED ? 1 : 0;
		ledger.lost += known == ADDED && found[i] == 0 ? 1 : 0;
		ledger.risen += known == ENDED && found[i] != 0 ? 1 : 0;
	}
}

static void clear(uint64_t last)
{
	struct outbox_range all = { .lo = 0, .hi = last };
	struct outbox_end end = {
		.reason = span_of(""), .now_unix_ms = RIG_NOW_MS, .keep_ms = 1
	};
	uint64_t removed;
	uint64_t early;

	if (db_begin(&rig.db) != ERR_OK ||
		outbox_remove(&rig.outbox, span_of(""), &all, 1, &end, &removed) != ERR_OK ||
		sent_prune(&rig.sent, INT64_MAX, 0, 1000000, &early) != ERR_OK ||
		db_commit(&rig.db) != ERR_OK)
		must_fail("the store cannot be written");
}

static void look(void)
{
	/* Some that were under way have higher numbers than any that was told. */
	uint32_t count = ledger.next + WORKERS * 2 - ledger.first;
	uint8_t *found = calloc(count, 1);

	if (found == NULL)
		must_fail("out of memory");
	if (rig_try_open(&rig) != ERR_OK) {
		ledger.unopened++;
		free(found);
		return;
	}
	uint64_t last = mark_found(found, count);

	compare(found, count);
	if (rig_number(&rig, "SELECT integrity_check <> 'ok' FROM pragma_integrity_check(1)") !=
		0)
		must_fail("the store is damaged");
	clear(last);
	rig_close(&rig);
	free(found);
	ledger.next += WORKERS * 4;
	ledger.first = ledger.next;
}

/* ---- the disk ---- */

static char image[128];
static char mount_point[128];

static bool run_tool(const char *const *argv)
{
	struct command_result result;

	must_run(argv, 30000, &result);
	return result.exit_code == 0;
}

static bool mount_image(void)
{
	const char *const argv[] = { "/usr/bin/mount", "-o", "loop", image, mount_point, NULL };

	return run_tool(argv);
}

static void unmount_image(void)
{
	/* The one who was killed may still hold it for a moment. */
	struct deadline d = deadline_in_ms(10000);

	while (umount(mount_point) != 0) {
		if (deadline_has_passed(d))
			must_fail("umount %s: %s", mount_point, strerror(errno));
		must_pause();
	}
}

static bool make_image(void)
{
	/* Nobody else sees what is mounted here, and it is gone with this process. */
	if (unshare(CLONE_NEWNS) != 0 ||
		mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		return false;
	const char *const mkfs[] = { "/usr/sbin/mkfs.ext4", "-q", "-F", image, NULL };

	must_format(image, sizeof(image), "%s/image", rig.folder);
	must_format(mount_point, sizeof(mount_point), "%s/mnt", rig.folder);
	must_format(rig.path, sizeof(rig.path), "%s/mnt/agent.db", rig.folder);
	int fd = open(image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, (off_t)MIB(IMAGE_MIB)) != 0 ||
		mkdir(mount_point, 0700) != 0)
		must_fail("%s: %s", image, strerror(errno));
	close(fd);
	if (access(mkfs[0], X_OK) != 0 || !run_tool(mkfs) || !mount_image())
		return false;
	return chmod(mount_point, 0700) == 0;
}

/* EXT4_IOC_SHUTDOWN without a flush of the journal: from here on nothing reaches the image. */
static void cut_power(void)
{
	uint32_t no_flush = 2;
	int fd = open(mount_point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, _IOR('X', 125, uint32_t), &no_flush) != 0)
		must_fail("shutting %s down: %s", mount_point, strerror(errno));
	close(fd);
}

/* ---- cycles ---- */

static void read_until(int fd, uint64_t until_us, uint64_t at_most)
{
	struct pollfd wanted = { .fd = fd, .events = POLLIN };

	for (uint64_t count = 0; count < at_most;) {
		uint64_t now_us = clock_mono_us();
		struct timespec left = { 0 };

		if (now_us >= until_us)
			return;
		left.tv_sec = (time_t)((until_us - now_us) / 1000000);
		left.tv_nsec = (long)((until_us - now_us) % 1000000) * 1000;
		if (ppoll(&wanted, 1, &left, NULL) <= 0)
			continue;
		if (!take_told(fd))
			return;
		count++;
	}
}

static void crash_once(void)
{
	int ends[2];

	if (pipe(ends) != 0)
		must_fail("pipe: %s", strerror(errno));
	pid_t child = fork();

	if (child == 0) {
		close(ends[0]);
		live(ledger.next, ends[1]);
		_exit(0);
	}
	if (child < 0)
		must_fail("fork: %s", strerror(errno));
	close(ends[1]);
	uint64_t now_us = clock_mono_us();

	/* At a random moment of its life, its start included; or a while after so many
	 * commits. */
	if (next_random(&ledger.random) % 2 == 0)
		read_until(ends[0], now_us + next_random(&ledger.random) % LATEST_KILL_US,
			UINT64_MAX);
	else
		read_until(ends[0], now_us + 2000000, next_random(&ledger.random) % 600);
	if (settings.how == BY_POWER) {
		read_until(ends[0], clock_mono_us() + 1, UINT64_MAX);
		is_power_going = true;
		cut_power();
	}
	if (kill(child, SIGKILL) != 0 || waitpid(child, NULL, 0) != child)
		must_fail("the child: %s", strerror(errno));
	while (take_told(ends[0]))
		continue;
	close(ends[0]);
	is_power_going = false;
	ledger.next += WORKERS * 2;
	if (settings.how == BY_POWER) {
		unmount_image();
		if (!mount_image())
			must_fail("the image cannot be mounted again");
	}
}

static int tell_result(uint64_t took_us)
{
	bool is_well = ledger.lost == 0 && ledger.risen == 0 && ledger.unopened == 0;

	printf(settings.is_json ? "{\"cycles\":%llu,\"end\":\"%s\",\"told\":%llu,\"looked_"
				  "for\":%llu,\"lost\":%llu,"
				  "\"risen\":%llu,\"unopened\":%llu,\"seconds\":%.1f}\n"
				: "%llu cycles (%s): %llu commits told, %llu looked for, %llu "
				  "lost, %llu ended but "
				  "there again, %llu times not to be opened, %.1f s\n",
		(unsigned long long)settings.cycles, settings.how == BY_KILL ? "kill" : "power",
		(unsigned long long)ledger.told, (unsigned long long)ledger.looked_for,
		(unsigned long long)ledger.lost, (unsigned long long)ledger.risen,
		(unsigned long long)ledger.unopened, (double)took_us / 1e6);
	return is_well ? 0 : 1;
}

static bool read_number(const char *text, uint64_t max, uint64_t *out)
{
	return text != NULL && text_parse_u64(span_of(text), out) == ERR_OK && *out >= 1 &&
	       *out <= max;
}

static bool read_settings(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;

		if (strcmp(argv[i], "--json") == 0) {
			settings.is_json = true;
			continue;
		}
		if (strcmp(argv[i], "--where-possible") == 0) {
			settings.is_easy = true;
			continue;
		}
		if (value == NULL)
			return false;
		i++;
		if (strcmp(argv[i - 1], "--cycles") == 0) {
			if (!read_number(value, 100000, &settings.cycles))
				return false;
		} else if (strcmp(argv[i - 1], "--seed") == 0) {
			if (!read_number(value, INT64_MAX, &settings.seed))
				return false;
		} else if (strcmp(argv[i - 1], "--end") == 0) {
			settings.how = strcmp(value, "power") == 0 ? BY_POWER : BY_KILL;
			if (settings.how == BY_KILL && strcmp(value, "kill") != 0)
				return false;
		} else if (strcmp(argv[i - 1], "--broken") == 0 &&
			   strcmp(value, "normal") == 0) {
			settings.is_broken = true;
		} else {
			return false;
		}
	}
	return true;
}

int main(int argc, char **argv)
{
	if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		(void)fputs(usage, stdout);
		return 0;
	}
	if (!read_settings(argc, argv)) {
		(void)fputs(usage, stderr);
		return 2;
	}
	rig_make(&rig);
	ledger.random = settings.seed * 0x9e3779b97f4a7c15 | 1;
	ledger.next = 1;
	ledger.first = 1;
	if (settings.how == BY_POWER && !make_image()) {
		printf("crash_store: no file system on a loop device can be had here\n");
		must_remove_folder(rig.folder);
		return settings.is_easy ? 0 : 3;
	}
	uint64_t begun_us = clock_mono_us();

	for (uint64_t i = 0; i < settings.cycles; i++) {
		crash_once();
		/* Not each time, so that the next one begins with what the crash has left. */
		if (i + 1 == settings.cycles || next_random(&ledger.random) % 3 == 0)
			look();
	}
	int result = tell_result(clock_mono_us() - begun_us);

	if (settings.how == BY_POWER)
		unmount_image();
	rig_end(&rig);
	return result;
}
