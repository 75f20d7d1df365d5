/* Names and passwords of cameras, kept apart from their addresses. Private to the media room. */
#ifndef OM_MEDIA_CREDENTIALS_H
#define OM_MEDIA_CREDENTIALS_H

/* `uri` with the name and password that the first fitting line of `file` has for its host, in *out; wiped
 * with om_credentials_wipe(). As it is where `file` is NULL, nothing fits, or it has a name of its own. Lines
 * are "HOST[:PORT] USER PASSWORD" ("*": any host; the password goes to the end of the line), empty, or begin
 * with
 * '#'. OM_ERR_NOT_FOUND, OM_ERR_IO; OM_ERR_FORMAT with "FILE:LINE: ...", never with what the line says. */
int om_credentials_apply(const char *file, const char *uri, char **out);
/* Overwrites and frees. NULL is allowed. */
void om_credentials_wipe(char *text);

#endif
