/* Lines of values parted by commas, as spreadsheets write them. */
#ifndef OM_TRAIN_CSV_LABELS_H
#define OM_TRAIN_CSV_LABELS_H

#include "base/str.h"

/* Takes the next line off *text: its fields, without quotes and blanks around them. false: nothing is left.
 * Empty lines and lines that begin with '#' are passed over; *line counts all. *err: out of memory. */
bool om_csv_next(char **text, int *line, om_strlist *fields, int *err);

#endif
