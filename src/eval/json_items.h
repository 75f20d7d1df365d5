/* The members of a JSON object, or the elements of an array, one at a time: lists of boxes are too long to
 * hold as a tree. Private to the room. */
#ifndef OM_EVAL_JSON_ITEMS_H
#define OM_EVAL_JSON_ITEMS_H

#include "base/json.h"

/* Borrows the text. Thread-safety: one thread. */
typedef struct om_json_items {
    const char *text, *at, *end;
    bool object, first;
} om_json_items;

typedef struct om_json_item {
    const char *key; /* of a member: as written between its quotes */
    size_t key_len;
    const char *text;
    size_t len;
} om_json_item;

/* OM_ERR_FORMAT unless the text begins with '{' (object) or '[' (array). */
int om_json_items_open(om_json_items *it, const char *text, size_t len, bool object);
/* 1: *out is the next one; 0: there is none; OM_ERR_FORMAT: it is not JSON. What an item holds is only
 * skipped: om_json_parse() judges it. */
int om_json_items_next(om_json_items *it, om_json_item *out);
/* Whether the member has this key. */
bool om_json_item_is(const om_json_item *item, const char *key);

#endif
