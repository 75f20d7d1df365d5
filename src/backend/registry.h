/* What backend.c and plugin.c share: the registry's lock-free reads and the loader's entry points. */
#ifndef OM_BACKEND_REGISTRY_H
#define OM_BACKEND_REGISTRY_H

#include "backend/backend.h"

extern const om_backend_ops om_backend_null;

/* Registered, without loading anything; NULL: not there. */
const om_backend_ops *om_backend_lookup(const char *name);

/* Loads omma-NAME.so unless that was tried before. Thread-safety: any thread; concurrent callers wait for the
 * first. */
void om_plugin_load(const char *name);
/* Loads every plug-in that the folders hold. */
void om_plugin_load_all(void);
/* OM_ERR_NOT_FOUND: why this plug-in's backend is not there, and how to get it. `text` is what the user asked
 * for. */
int om_plugin_missing(const char *name, const char *text);
/* Names of the plug-ins that omma's own sources build. */
bool om_plugin_known(const char *name);

#endif
