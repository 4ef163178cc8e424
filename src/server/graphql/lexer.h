/* SPDX-License-Identifier: MIT */
/* GraphQL text to tokens, one at a time. Commas, white space, a BOM and comments are skipped. */
#ifndef TARE_SERVER_GRAPHQL_LEXER_H
#define TARE_SERVER_GRAPHQL_LEXER_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#include <stdint.h>

enum gql_token_kind {
    GQL_TOK_EOF,
    GQL_TOK_PUNCT, /* one of ! $ & ( ) : = @ [ ] { | } */
    GQL_TOK_SPREAD,
    GQL_TOK_NAME,
    GQL_TOK_INT,
    GQL_TOK_FLOAT,
    GQL_TOK_STRING, /* text is decoded */
};

struct gql_lexer {
    const char *at, *end, *line_start;
    uint32_t line;
    uint32_t n_tokens; /* handed out so far: the parser's limit */
    struct arena *arena;
    /* the token last read */
    enum gql_token_kind kind;
    char punct;
    struct str text;
    uint32_t token_line, token_column;
};

void gql_lexer_init(struct gql_lexer *lx, struct arena *a, struct str text);

/* Read the next token into `lx`.
 * Expected: TARE_EFORMAT with place in `e`; TARE_ELIMIT; TARE_ENOMEM. */
int gql_lexer_next(struct gql_lexer *lx, struct err *e);

#endif
