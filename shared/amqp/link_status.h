/* link_status.h - a link as people and scrapers see it: states, faults, counts.
 *
 * Layer: amqp. Uses: base, link, publisher, consumer. Thread: the loop's. */
#ifndef SALLYPORT_AMQP_LINK_STATUS_H
#define SALLYPORT_AMQP_LINK_STATUS_H

#include "amqp/link.h"
#include "base/json_writer.h"

/* Writes {"ready":…,"connections":[{"name","state","broker","fault":{…},"channels":[…]},…]}. A
 * fault is the last one, with the AMQP reply code and text, and stays until the next. */
void link_write_status(const struct link *k, struct json_writer *w);

#endif
