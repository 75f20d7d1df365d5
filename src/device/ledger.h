/* The books of a device's memory: what it is for, how much at most, and who holds what. Private to the device
 * room. All that open one device in a process share its ledger. */
#ifndef OM_DEVICE_LEDGER_H
#define OM_DEVICE_LEDGER_H

#include "device/device.h"

/* Thread-safety: all calls from any thread. */
typedef struct om_ledger om_ledger;

/* That of this device, made for the first who opens it; NULL when out of memory. */
om_ledger *om_ledger_open(const om_device_ops *ops, int index);
void om_ledger_close(om_ledger *l); /* NULL is allowed */

/* OM_ERR_NOMEM: it would go over the cap, or a test makes it fail. `id`: the device's, for the message. */
int om_ledger_add(om_ledger *l, const char *id, om_purpose purpose, size_t size);
void om_ledger_sub(om_ledger *l, om_purpose purpose, size_t size);
/* What was added stands at this address from now on. */
int om_ledger_note(om_ledger *l, const void *at, om_purpose purpose, size_t size);
/* Subtracts what stands there. */
void om_ledger_forget(om_ledger *l, const void *at);

void om_ledger_read(om_ledger *l, om_device_memory *out);
void om_ledger_cap(om_ledger *l, int64_t bytes);
/* What the driver says that this process holds, all in all. */
void om_ledger_told(om_ledger *l, int64_t process);

#endif
