/* A shared object that is no plug-in. */
int omma_nothing(void);
int omma_nothing(void) { return 0; }
