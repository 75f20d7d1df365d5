/* Users' operators (omma/operator.h) as steps of a program. Thread-safety: as lower.h and engine.h. */
#ifndef OM_BACKEND_CUDA_USER_OP_H
#define OM_BACKEND_CUDA_USER_OP_H

#include "backend/cuda/lower.h"
#include "model/operators.h"

/* What a launch shows to the operator; a program owns those of its steps. */
typedef struct omcu_user omcu_user;

/* The operator that users brought for a node; NULL: none. */
const om_operator *omcu_user_find(const om_node *n);
/* Lowers it with this operator. *taken false (and OM_OK): the operator does not accept it; *why
 * tells. */
int omcu_lower_user(omcu_lower_state *l, int node, const om_operator *op, bool *taken, const char **why);
/* A cudaError_t. */
int omcu_user_run(const omcu_program *p, const omcu_step *s, const omcu_binding *b,
                  struct CUstream_st *stream);
const char *omcu_user_name(const omcu_user *u);
void omcu_user_destroy(omcu_user *u); /* takes NULL */

#endif
