/* What the commands of `omma model` share. */
#ifndef OM_CLI_MODEL_TOOLS_H
#define OM_CLI_MODEL_TOOLS_H

#include "model/model.h"

/* Loads and infers shapes; errors name the file. */
int om_model_open(const char *path, om_graph **out);
/* Saves `g`, then prints one line of what was made. Frees `g` either way. */
int om_model_made(om_graph *g, const char *path);

#endif
