/* passage.h - a whole crossing for one test: fresh vhost, fresh folder, agent, node, handler.
 *
 * Layer: tests. Uses: testlib. Thread: the test's. */
#ifndef SALLYPORT_E2E_PASSAGE_H
#define SALLYPORT_E2E_PASSAGE_H

#include "broker.h"
#include "daemon.h"
#include "handler.h"
#include "http.h"
#include "proxy.h"

enum {
	RECOVER_MS = 2000,       /* both daemons are back so long after what they missed */
	OVERHEAD_MS = 50,        /* a named error comes at most so long after the deadline */
	AT_ONCE_MS = 100,        /* what "at once" means on a busy machine */
	SHORT_DEADLINE_MS = 300, /* of quote.short */
};

struct passage {
	struct broker *broker;
	struct crossing_name host;
	char folder[96];
	char web_socket[128];
	char app_socket[128];
	char web_user[32];      /* web.t07.g1 */
	uint16_t ports[2];      /* of brokers on 127.0.0.1; a 0 ends the list */
	char ca[160];           /* path */
	char web_identity[160]; /* path without .pem and .key */
	char app_identity[160];
	char seals[160];      /* folder of HOST.seal, for both daemons */
	char inner_seal[280]; /* key file of the inner vhost */
	struct handler handler;
	struct proxy proxy; /* not started; stopped after the daemons if it was */
	struct daemon agent;
	struct daemon node;
};

/* Where passages are made; called once, before any test. */
void passage_keep_under(const char *folder);

/* Takes a crossing of the broker. The handler runs, the daemons do not yet. */
void must_passage_open(struct passage *p, struct broker *b);

/* Stops what runs and checks how it ends. Not reached when the test failed. */
void must_passage_close(struct passage *p);

/* Starts node and agent, ready with the border. */
void must_passage_start(struct passage *p);

/* Writes both configurations anew, from the fields above and with further lines; or one of them. */
void must_passage_configure(struct passage *p, const char *more);
void must_passage_configure_agent(struct passage *p, const char *more);
void must_passage_configure_node(struct passage *p, const char *more);

/* A second node on the same crossing; nothing runs yet. */
void must_passage_init_other_node(
	struct passage *p, struct daemon *d, const char *node, const char *socket_path);

/* A call is answered 200 within the time; until then others may fail. */
void must_passage_recover(struct passage *p, uint64_t within_ms);

/* Both daemons answer, and a call crosses. */
void expect_crossing(struct passage *p);

/* The status document of a daemon contains all of these, one after the other or not. */
void expect_status_has(const char *socket_path, const char *part);

/* Asks again and again until it does. */
void must_status_become(const char *socket_path, const char *part, uint64_t within_ms);

#endif
