#ifndef HEADS_H
#define HEADS_H

typedef struct heads_case {
    const char *family;
    const void *data; /* rows x columns, f32 or f16; lives as long as what is opened on it */
    long rows, columns;
    int f16, max_boxes;
    float conf, iou;
} heads_case;

typedef struct heads_bench heads_bench;

heads_bench *heads_open(const heads_case *c); /* NULL: heads_error() says why */
/* Number of boxes; `boxes`, unless NULL, gets x0, y0, x1, y1, score, class of each. */
long heads_decode(heads_bench *b, float *boxes);
void heads_time(heads_bench *b, int n, double *ns);
/* What it takes to read n floats and compare each with one number. */
void heads_time_read(const float *data, long n, int rounds, double *ns);
const char *heads_table(void);
const char *heads_error(void);
void heads_close(heads_bench *b);

#endif
