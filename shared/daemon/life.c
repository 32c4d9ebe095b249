#include "daemon/life.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"

static void on_signal(void *arg, int signum)
{
	struct life *life = arg;

	if (life->is_stopping)
		return;
	if (signum == SIGHUP) {
		if (life->on_reload != NULL)
			life->on_reload(life->arg);
		else
			log_warn("event=reload-ignored reason=\"restart to read the files "
				 "again\"");
		return;
	}
	log_info("event=stop-asked signal=%d", signum);
	life->is_stopping = true;
	ready_tell_stopping(&life->ready);
	life->on_stop(life->arg);
}

/* Each local connection takes two descriptors, and the usual soft limit of 1024 is for select(). */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		log_warn("event=file-limit-stays reason=refused");
}

enum err life_init(struct life *life, struct loop *l, int ready_fd, life_fn on_stop,
	life_fn on_reload, void *arg)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
	struct sigaction ignore = { .sa_handler = SIG_IGN };

	*life = (struct life){ .on_stop = on_stop, .on_reload = on_reload, .arg = arg };
	if (ready_init(&life->ready, ready_fd, getenv("NOTIFY_SOCKET")) != ERR_OK)
		log_warn("event=notify-socket-ignored reason=\"not an address\"");
	unsetenv("NOTIFY_SOCKET");
	raise_file_limit();
	if (sigaction(SIGPIPE, &ignore, NULL) != 0)
		return ERR_IO;
	for (size_t i = 0; i < ARRAY_COUNT(signals); i++) {
		enum err err = loop_on_signal(l, signals[i], on_signal, life);

		if (err != ERR_OK)
			return err;
	}
	return ERR_OK;
}

void life_fini(struct life *life)
{
	ready_fini(&life->ready);
}

void life_close(struct life *life)
{
	life->is_stopping = true;
}

void life_tell_ready(struct life *life)
{
	if (life->is_ready || life->is_stopping)
		return;
	life->is_ready = true;
	log_info("event=ready pid=%d", (int)getpid());
	ready_tell(&life->ready);
}

static bool may_tell(const struct life *life)
{
	return life->is_ready && !life->is_stopping;
}

void life_tell_reloading(struct life *life)
{
	if (may_tell(life))
		ready_tell_reloading(&life->ready);
}

void life_tell_reloaded(struct life *life, const char *line)
{
	if (!may_tell(life))
		return;
	ready_tell_status(&life->ready, line);
	ready_tell(&life->ready);
}
