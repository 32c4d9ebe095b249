#include "daemon/setup.h"

#include <stdlib.h>
#include <string.h>

const struct site_config *setup_site_config(const struct setup *s)
{
	return (const struct site_config *)(const void *)((const char *)s->config +
							  s->kind->site_at);
}

const char *setup_name(const struct setup *s)
{
	char *name;

	memcpy(&name, (const char *)s->config + s->kind->name_at, sizeof(name));
	return name;
}

/* Said only where something was read. */
static void tell_more_may_follow(const char *file, struct report *report)
{
	const struct mistake *first = &report->mistakes[0];

	if (report->count > 0 && (first->line > 0 || first->key[0] != '\0'))
		report_add(report, file, 0, 0, (struct span){ 0 },
			"what the values name has not been looked at: more may follow once "
			"these are mended");
}

enum err setup_open(const struct setup_kind *kind, const char *file, struct report *report,
	struct setup *out)
{
	*out = (struct setup){
		.kind = kind,
		.file = strdup(file),
		.config = calloc(1, kind->config_bytes),
	};
	if (out->file == NULL || out->config == NULL)
		return ERR_NOMEM;
	enum err err = options_load(kind->options, file, report, out->config);

	if (err == ERR_INPUT)
		tell_more_may_follow(file, report);
	if (err != ERR_OK)
		return err;
	const struct site_config *config = setup_site_config(out);

	err = site_open(config, file, report, &out->site);
	site_expect_identity(&out->site, kind->realm, setup_name(out), config, file, report);
	if (err != ERR_NOMEM &&
		kind->open_more(out->config, file, &out->site, report) == ERR_NOMEM)
		err = ERR_NOMEM;
	if (err == ERR_OK && !report_is_empty(report))
		err = ERR_INPUT;
	return err;
}

void setup_close(struct setup *s)
{
	site_close(&s->site);
	if (s->config != NULL)
		options_free(s->kind->options, s->config);
	free(s->config);
	free(s->file);
	*s = (struct setup){ 0 };
}

void setup_take(struct setup *running, struct setup *fresh, option_stays_fn on_stays, void *arg)
{
	options_take(running->kind->options, running->config, fresh->config, on_stays, arg);
	if (strcmp(running->site.contract_digest, fresh->site.contract_digest) != 0)
		on_stays(arg, "contract");
	site_take(&running->site, &fresh->site);
}
