/* schedule_says - what schedules and zones say, for schedule_oracle.py: one question a line.
 *
 *   next ZONE AFTER UNTIL EXPRESSION    the ticks with AFTER < tick < UNTIL, in one line
 *   offset ZONE UNIX_S…                 the offsets of these moments, in one line
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contract/schedule.h"

enum { LINE_ROOM = 64 * 1024 };

static void say_ticks(const char *zone, const char *rest)
{
	struct schedule s;
	struct schedule_why why;
	int64_t after;
	int64_t until;
	int read;

	if (sscanf(rest, "%" SCNd64 " %" SCNd64 " %n", &after, &until, &read) != 2) {
		puts("error: two moments?");
		return;
	}
	if (schedule_parse(span_of(rest + read), &s, &why) != ERR_OK) {
		printf("error: %s\n", why.text);
		return;
	}
	if (zone_open(span_of(zone), &s.zone) != ERR_OK) {
		puts("error: zone?");
		return;
	}
	while (schedule_next(&s, after, &after) == ERR_OK && after < until)
		printf("%" PRId64 " ", after);
	putchar('\n');
	schedule_free(&s);
}

static void say_offsets(const char *name, const char *rest)
{
	struct zone zone;
	int64_t at;
	int read;

	if (zone_open(span_of(name), &zone) != ERR_OK) {
		puts("error: zone?");
		return;
	}
	while (sscanf(rest, "%" SCNd64 "%n", &at, &read) == 1) {
		printf("%" PRId32 " ", zone_stretch_at(&zone, at).offset_s);
		rest += read;
	}
	putchar('\n');
	zone_close(&zone);
}

int main(void)
{
	static char line[LINE_ROOM];
	char word[16];
	char zone[80];
	int read;

	while (fgets(line, sizeof line, stdin) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (sscanf(line, "%15s %79s %n", word, zone, &read) != 2)
			puts("error: what is that?");
		else if (strcmp(word, "next") == 0)
			say_ticks(zone, line + read);
		else
			say_offsets(zone, line + read);
	}
	return EXIT_SUCCESS;
}
