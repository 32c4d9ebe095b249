/* e2e.h - the one program of end-to-end tests: a private broker, started once, and the cases
 * that use it.
 *
 * Layer: tests. Uses: testlib. */
#ifndef SALLYPORT_E2E_E2E_H
#define SALLYPORT_E2E_E2E_H

#include <check.h>
#include <stdbool.h>

#include "broker.h"
#include "passage.h"

/* Up while tests run. */
extern struct broker e2e_broker;

/* The crossing of the test that runs: open, nothing started but its handler. Closed after it,
 * which checks the ends and the logs of its daemons. */
extern struct passage passage;

/* How often the broker is killed in a row under load. */
extern unsigned e2e_kills;

/* Somebody asked for so many and wants to see what each of them cost. */
extern bool e2e_shows_kills;

/* A case whose tests each have a passage. */
TCase *e2e_case(const char *name, double timeout_s);

TCase *calls_case(void);
TCase *sends_case(void);
TCase *outages_case(void);
TCase *network_case(void);
TCase *refusals_case(void);
TCase *stopping_case(void);
TCase *hostile_clients_case(void);
TCase *hostile_broker_case(void);
TCase *config_case(void);
TCase *seal_case(void);
TCase *reload_case(void);
TCase *inner_case(void);

#endif
