/* api.h - the node's local API: which path means what.
 *
 * Layer: app-node. Uses: http, node. Thread: the loop's. */
#ifndef SALLYPORT_NODE_API_H
#define SALLYPORT_NODE_API_H

#include "app-node/node.h"

/* Answers rq. */
void api_answer(struct node_daemon *n, struct http_request *rq);

/* Registers everything that the node counts. */
void api_register_metrics(struct node_daemon *n);

#endif
