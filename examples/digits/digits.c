/* SPDX-License-Identifier: MIT */
/* Trains a small network (64 - 48 - 10) to read hand-written digits, and logs the training with
 * tare: loss, accuracy and learning rate as it goes, and the confusion table at the end.
 *
 *   digits [DATA [EPOCHS]]        default examples/digits/data/digits.csv 40
 *
 * Plain C and the standard library; a second on one core. Exits with 0 if at least 95 % of the
 * test images are read right. */
#include <tare/tare.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { N_PIXELS = 64, N_HIDDEN = 48, N_CLASSES = 10, N_MAX = 1797, BATCH = 32 };

struct image {
    float pixels[N_PIXELS]; /* 0..1 */
    int label;
};

/* One layer: out = weights * in + bias, with what momentum remembers. */
struct layer {
    int n_in, n_out;
    float weights[N_HIDDEN * N_PIXELS], bias[N_HIDDEN];
    float d_weights[N_HIDDEN * N_PIXELS], d_bias[N_HIDDEN]; /* gradients of the batch */
    float v_weights[N_HIDDEN * N_PIXELS], v_bias[N_HIDDEN]; /* velocities */
};

struct net {
    struct layer hidden, output;
};

static struct image images[N_MAX];
static struct net net;

/* ---- data ---- */

static unsigned random_state = 1;

static unsigned random_below(unsigned n)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % n;
}

static int load(const char *path)
{
    char line[128];
    int n = 0;
    FILE *f = fopen(path, "r");
    if (!f)
        return 0;
    while (n < N_MAX && fgets(line, sizeof line, f) && line[N_PIXELS] == ',') {
        for (int i = 0; i < N_PIXELS; i++) {
            char c = line[i];
            images[n].pixels[i] = (float)(c <= '9' ? c - '0' : c - 'a' + 10) / 16;
        }
        images[n++].label = line[N_PIXELS + 1] - '0';
    }
    fclose(f);
    return n;
}

static void shuffle(struct image *all, int n)
{
    for (int i = n - 1; i > 0; i--) {
        int k = (int)random_below((unsigned)i + 1);
        struct image tmp = all[i];
        all[i] = all[k];
        all[k] = tmp;
    }
}

/* ---- the network ---- */

static void layer_init(struct layer *l, int n_in, int n_out)
{
    l->n_in = n_in;
    l->n_out = n_out;
    float scale = sqrtf(6.0f / (float)n_in);
    for (int i = 0; i < n_in * n_out; i++)
        l->weights[i] = ((float)random_below(20001) / 10000 - 1) * scale;
}

static void layer_forward(const struct layer *l, const float *in, float *out)
{
    for (int o = 0; o < l->n_out; o++) {
        float sum = l->bias[o];
        for (int i = 0; i < l->n_in; i++)
            sum += l->weights[o * l->n_in + i] * in[i];
        out[o] = sum;
    }
}

/* Add the gradients of one image; `d_in`, if not NULL, gets that of the input. */
static void layer_backward(struct layer *l, const float *in, const float *d_out, float *d_in)
{
    for (int o = 0; o < l->n_out; o++) {
        l->d_bias[o] += d_out[o];
        for (int i = 0; i < l->n_in; i++)
            l->d_weights[o * l->n_in + i] += d_out[o] * in[i];
    }
    for (int i = 0; d_in && i < l->n_in; i++) {
        d_in[i] = 0;
        for (int o = 0; o < l->n_out; o++)
            d_in[i] += d_out[o] * l->weights[o * l->n_in + i];
    }
}

static void descend(float *w, float *d, float *v, int n, float rate, float decay)
{
    for (int i = 0; i < n; i++) {
        v[i] = 0.9f * v[i] - rate * (d[i] / BATCH + decay * w[i]);
        w[i] += v[i];
        d[i] = 0;
    }
}

static void layer_update(struct layer *l, float rate)
{
    descend(l->weights, l->d_weights, l->v_weights, l->n_in * l->n_out, rate, 1e-4f);
    descend(l->bias, l->d_bias, l->v_bias, l->n_out, rate, 0);
}

/* Probabilities of the ten digits; `hidden` gets the activations between. */
static void predict(const float *pixels, float *hidden, float *p)
{
    layer_forward(&net.hidden, pixels, hidden);
    for (int i = 0; i < N_HIDDEN; i++)
        hidden[i] = hidden[i] > 0 ? hidden[i] : 0;
    layer_forward(&net.output, hidden, p);
    float top = p[0], sum = 0;
    for (int i = 1; i < N_CLASSES; i++)
        top = p[i] > top ? p[i] : top;
    for (int i = 0; i < N_CLASSES; i++)
        sum += p[i] = expf(p[i] - top);
    for (int i = 0; i < N_CLASSES; i++)
        p[i] /= sum;
}

static int best(const float *p)
{
    int k = 0;
    for (int i = 1; i < N_CLASSES; i++)
        k = p[i] > p[k] ? i : k;
    return k;
}

/* One step on a batch; its mean loss. `n_right` is added to. */
static double train_batch(const struct image *batch, float rate, int *n_right)
{
    double loss = 0;
    for (int b = 0; b < BATCH; b++) {
        float hidden[N_HIDDEN], p[N_CLASSES], d_hidden[N_HIDDEN];
        const struct image *image = &batch[b];
        predict(image->pixels, hidden, p);
        loss -= log((double)p[image->label] + 1e-12);
        *n_right += best(p) == image->label;
        p[image->label] -= 1; /* now the gradient of the loss */
        layer_backward(&net.output, hidden, p, d_hidden);
        for (int i = 0; i < N_HIDDEN; i++)
            d_hidden[i] = hidden[i] > 0 ? d_hidden[i] : 0;
        layer_backward(&net.hidden, image->pixels, d_hidden, NULL);
    }
    layer_update(&net.hidden, rate);
    layer_update(&net.output, rate);
    return loss / BATCH;
}

/* Share of images read right; `confusion[label][guess]` counts them, if not NULL. */
static double test(const struct image *all, int n, int64_t confusion[][N_CLASSES], double *loss)
{
    int n_right = 0;
    *loss = 0;
    for (int i = 0; i < n; i++) {
        float hidden[N_HIDDEN], p[N_CLASSES];
        predict(all[i].pixels, hidden, p);
        *loss -= log((double)p[all[i].label] + 1e-12) / n;
        n_right += best(p) == all[i].label;
        if (confusion)
            confusion[all[i].label][best(p)]++;
    }
    return (double)n_right / n;
}

/* ---- with tare ---- */

static void log_confusion(tare_run *run, int64_t confusion[][N_CLASSES])
{
    static const char *const columns[] = {"digit", "as 0", "as 1", "as 2", "as 3", "as 4",
                                          "as 5",  "as 6", "as 7", "as 8", "as 9"};
    struct tare_value cells[N_CLASSES * (N_CLASSES + 1)];
    struct tare_value *cell = cells;
    for (int label = 0; label < N_CLASSES; label++) {
        *cell++ = tare_i64("", label);
        for (int guess = 0; guess < N_CLASSES; guess++)
            *cell++ = tare_i64("", confusion[label][guess]);
    }
    struct tare_table table = {columns, N_CLASSES + 1, cells, N_CLASSES};
    tare_log(run, tare_tab("confusion", &table));
}

static double train(tare_run *run, int n_train, int n_test, int n_epochs)
{
    const struct image *test_images = images + n_train;
    double accuracy = 0, test_loss;
    int n_steps = n_epochs * (n_train / BATCH), step = 0;
    for (int epoch = 1; epoch <= n_epochs; epoch++) {
        int n_right = 0;
        shuffle(images, n_train);
        for (int at = 0; at + BATCH <= n_train; at += BATCH) {
            double rate = 0.1 * 0.5 * (1 + cos(3.14159265358979 * step++ / n_steps));
            double loss = train_batch(images + at, (float)rate, &n_right);
            tare_log(run, tare_f64("loss", loss), tare_f64("learning_rate", rate),
                     tare_i64("epoch", epoch));
        }
        accuracy = test(test_images, n_test, NULL, &test_loss);
        tare_log(run, tare_f64("train/accuracy", (double)n_right / (n_train / BATCH * BATCH)),
                 tare_f64("test/accuracy", accuracy), tare_f64("test/loss", test_loss),
                 tare_i64("epoch", epoch));
    }
    int64_t confusion[N_CLASSES][N_CLASSES] = {{0}};
    test(test_images, n_test, confusion, &test_loss);
    log_confusion(run, confusion);
    return accuracy;
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "examples/digits/data/digits.csv";
    int n_epochs = argc > 2 ? atoi(argv[2]) : 40;
    int n = load(path), n_train = n * 4 / 5;
    if (n < 100 || n_epochs < 1) {
        fprintf(stderr, "digits: cannot read images from %s\n", path);
        return 2;
    }
    struct tare_options options = tare_options_defaults();
    options.project = options.project ? options.project : "digits";
    options.job_type = "train";
    options.notes = "Hand-written digits, a 64-48-10 network in plain C";
    tare_run *run;
    if (tare_init(&options, &run) != 0) {
        fprintf(stderr, "digits: %s\n", tare_last_error_text());
        return 2;
    }
    shuffle(images, n);
    layer_init(&net.hidden, N_PIXELS, N_HIDDEN);
    layer_init(&net.output, N_HIDDEN, N_CLASSES);
    tare_config(run, tare_str("model", "mlp"), tare_i64("hidden", N_HIDDEN),
                tare_i64("batch_size", BATCH), tare_i64("epochs", n_epochs),
                tare_f64("learning_rate", 0.1), tare_f64("momentum", 0.9),
                tare_i64("train_images", n_train), tare_i64("test_images", n - n_train));
    struct tare_metric metric = {.name = "test/accuracy", .summary = "max,last", .step_sync = -1};
    tare_define_metric(run, &metric);
    double accuracy = train(run, n_train, n - n_train, n_epochs);
    tare_summary(run, tare_f64("final_accuracy", accuracy));
    printf("digits: %.1f %% of %d test images read right; run %s in %s\n", 100 * accuracy,
           n - n_train, tare_run_id(run), tare_run_dir(run));
    int rc = tare_finish(run, accuracy >= 0.95 ? 0 : 1);
    if (rc != 0)
        fprintf(stderr, "digits: %s\n", tare_last_error_text());
    return accuracy >= 0.95 && rc == 0 ? 0 : 1;
}
