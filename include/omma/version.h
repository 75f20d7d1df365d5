#ifndef OMMA_VERSION_H
#define OMMA_VERSION_H

#define OMMA_VERSION_MAJOR 0
#define OMMA_VERSION_MINOR 1
#define OMMA_VERSION_PATCH 0
#define OMMA_VERSION_STRING "0.1.0"

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the library that is loaded, which may differ from the header's. */
const char *om_version(void);

#ifdef __cplusplus
}
#endif
#endif
