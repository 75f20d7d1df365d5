/* Many pictures on one sheet. */
#ifndef OM_CLI_CONTACT_H
#define OM_CLI_CONTACT_H

#include "quant/collection.h"

/* Some of the collection's pictures, evenly over them, as FOLDER/contact.jpg. Nothing where it is empty. */
int om_contact_write(const om_collection *c, const char *folder);

#endif
