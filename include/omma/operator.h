/* Operators of your own on the GPU: a shared object that omma loads with --operators FILE.so or from
 * $OMMA_OPERATORS. It exports
 *
 *     const om_operator_list *omma_operators(void);
 *
 * An operator stands for the nodes of one type in one ONNX domain. A node of a domain of yours needs nothing
 * else to be in a model; a standard type (domain "") is taken where `accepts` agrees, and computed by omma
 * itself where not. Operators run in omma's CUDA engine, as a part of its CUDA graphs; other engines refuse
 * them. docs/operators.md has an example.
 *
 * Thread-safety: every function may be called from several threads at once, for other nodes or for the same;
 * it keeps no state but in what it is given. Nothing here may be changed once omma has it. */
#ifndef OMMA_OPERATOR_H
#define OMMA_OPERATOR_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define OM_OPERATOR_API 1u
#define OM_OPERATOR_RANK 8

typedef enum om_operator_type { OM_OPERATOR_F32 = 1, OM_OPERATOR_F16 = 2 } om_operator_type;

/* How an operator wants its tensors in memory. */
typedef enum om_operator_layout {
    OM_OPERATOR_DENSE,        /* as the dims come, the last one innermost */
    OM_OPERATOR_CHANNELS_LAST /* of four dims the second innermost (NHWC); others dense */
} om_operator_layout;

/* What omma can do behind an operator and would rather have done by it. */
typedef enum om_operator_activation {
    OM_OPERATOR_NONE,
    OM_OPERATOR_RELU,
    OM_OPERATOR_CLIP, /* to low..high */
    OM_OPERATOR_SILU
} om_operator_activation;

/* Dims stand in the graph's order, whatever the layout; strides count elements. */
typedef struct om_operator_tensor {
    void *data;   /* device memory; NULL but in launch */
    int32_t type; /* om_operator_type: what the engine computes in */
    int32_t rank; /* -1: not known yet (shapes alone) */
    int64_t dim[OM_OPERATOR_RANK], stride[OM_OPERATOR_RANK]; /* a dim of -1: not known yet (shapes alone) */
    int32_t constant;                                        /* 1: a weight; always dense */
} om_operator_tensor;

/* One node. Its inputs are in the node's order; one that is left out has rank -1 and no data. */
typedef struct om_operator_call {
    const char *node; /* its name, for messages */
    const om_operator_tensor *in;
    om_operator_tensor *out;
    int32_t n_in, n_out;
    int32_t activation; /* om_operator_activation, behind out[0]; in accepts, workspace and launch */
    float low, high;
    void *workspace;    /* of the size that `workspace` asked for, aligned to 256 bytes; launch alone */
    const void *inside; /* omma's own */
    /* The node's attributes; `fallback` where there is none of that name and kind. */
    int64_t (*attr_int)(const struct om_operator_call *c, const char *name, int64_t fallback);
    float (*attr_float)(const struct om_operator_call *c, const char *name, float fallback);
    /* Fills at most `max`; returns how many the attribute has, 0: there is none. */
    int32_t (*attr_ints)(const struct om_operator_call *c, const char *name, int64_t *out, int32_t max);
    const char *(*attr_string)(const struct om_operator_call *c, const char *name, const char *fallback);
} om_operator_call;

/* All texts and functions live as long as the process. */
typedef struct om_operator {
    const char *name;   /* for people: it stands in profiles */
    const char *domain; /* of its nodes; "": the standard's */
    const char *type;   /* the nodes' operator type */
    int32_t layout;     /* om_operator_layout, of all that is not constant */
    int32_t fuses;      /* bits 1 << om_operator_activation: what it does itself; NONE needs no bit */
    /* Sets rank and dims of each output from those of the inputs; dims of -1 make dims of -1. 0; else *why
     * says in a sentence what is wrong with the node. NULL: out[0] has the shape of in[0]. Never called for
     * standard types, whose shapes the standard fixes. */
    int (*shapes)(const om_operator_call *c, const char **why);
    /* 1: it computes this node. 0: omma does, where it can; else *why is told. Shapes are fixed by now. NULL:
     * always.
     */
    int (*accepts)(const om_operator_call *c, const char **why);
    /* Bytes that a launch needs. NULL: none. */
    size_t (*workspace)(const om_operator_call *c);
    /* Puts the work on `stream` (a cudaStream_t) and returns at once, a cudaError_t (0: fine). It is captured
     * into a CUDA graph: no synchronisation, no allocation, nothing but launches and copies on this stream,
     * and the same ones each time. */
    int (*launch)(const om_operator_call *c, void *stream);
} om_operator;

typedef struct om_operator_list {
    uint32_t api_version; /* OM_OPERATOR_API */
    const char *name;     /* of the collection, for messages */
    const om_operator *const *operators;
    int32_t n_operators;
} om_operator_list;

typedef const om_operator_list *(*om_operators_fn)(void); /* "omma_operators" */

#ifdef __cplusplus
}
#endif
#endif
