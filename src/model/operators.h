/* Operators that users bring in shared objects (omma/operator.h): loading, finding, and what they get to see
 * of a node. Thread-safety: any thread; what is loaded stays for the process's life. */
#ifndef OM_MODEL_OPERATORS_H
#define OM_MODEL_OPERATORS_H

#include "model/graph.h"
#include "omma/operator.h"

#define OM_OPERATOR_PORTS 16 /* inputs, and outputs, of a node */

/* All operators of the file or none. One line of why not: the file is missing or no shared object, exports no
 * omma_operators(), was built for another interface, an entry is missing, an operator is there already. A
 * file that is loaded already is fine. */
int om_operators_load(const char *path);
int om_operators_load_list(const om_strlist *paths); /* in their order, until one fails */
/* Those that $OMMA_OPERATORS names, parted by ':'; once a process. */
int om_operators_load_env(void);
/* Checks and adds a list that lies in the process; `path` stands in messages. */
int om_operators_add(const om_operator_list *list, const char *path);
/* NULL: none. "ai.onnx" is "". */
const om_operator *om_operators_find(const char *domain, const char *type);

/* A copy of a node's attributes, for om_operator_call.inside. */
typedef struct om_operator_node om_operator_node;
int om_operator_node_create(const om_node *n, om_operator_node **out);
void om_operator_node_destroy(om_operator_node *n); /* takes NULL */
/* Sets what asks for attributes. */
void om_operator_call_attach(om_operator_call *c, const om_operator_node *n);

#endif
