/* What the answers about one track say together: texts character by character, classes and names as wholes,
 * each answer with the weight of its score. Zeroed is valid and empty. Thread-safety: one thread at a time.
 */
#ifndef OM_PIPELINE_SECOND_VOTE_H
#define OM_PIPELINE_SECOND_VOTE_H

#include <stdbool.h>
#include <stdint.h>

#define OM_VOTE_TEXTS 24 /* different texts that are kept; the weakest goes for a new one */
#define OM_VOTE_CLASSES 16

typedef struct om_vote_text {
    char *text;
    int length; /* characters */
    int count;
    double weight; /* the sum of its scores */
} om_vote_text;

typedef struct om_votes {
    om_vote_text texts[OM_VOTE_TEXTS];
    struct {
        int32_t id;
        int count;
        double weight;
    } classes[OM_VOTE_CLASSES];
    int n_texts, n_classes;
    int n;         /* answers */
    double weight; /* of all of them */
} om_votes;

void om_votes_fini(om_votes *v);
/* An empty text is no vote. OM_ERR_NOMEM. */
int om_votes_add_text(om_votes *v, const char *text, float score);
void om_votes_add_class(om_votes *v, int32_t id, float score);
/* The text's length is the one with the most weight behind it, each character the one with the most weight at
 * its place; `whole`: the text with the most weight as it is. *text is to be freed (NULL: no vote yet). The
 * score is the mean share of the characters' weight times the mean score; `agree`: how many answers said
 * exactly this. */
int om_votes_text(const om_votes *v, bool whole, char **text, float *score, int *agree);
/* -1: no vote yet. The score is the class's weight over the number of votes. */
int32_t om_votes_class(const om_votes *v, float *score, int *agree);

#endif
