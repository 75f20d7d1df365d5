#include "omma/version.h"

const char *om_version(void) { return OMMA_VERSION_STRING; }
